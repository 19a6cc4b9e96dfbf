"""Slow reads: lists that may read many rows take turns, and pause in between, while other requests are served.

They are those that search, count rows, or skip many. Without a bound, a few clients that search without end take most
of the processor. Callers get their turns one after another. While nothing else is served, there is no bound.

    other requests are served:  at most `limit` slow reads at a time; after a read that took long, its place stays taken
                                for twice as long
    none are served:            a slow read begins at once
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from kit.http.fairness import CURRENT_CALLER, FairSemaphore

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

T = TypeVar("T")
MANY_SKIPPED = 10_000
"""The largest offset of a list that is not slow."""
PART_OF_POOL = 30
"""On PostgreSQL, slow reads take at most a thirtieth of the connections, one of 30; on SQLite one.

PostgreSQL may execute a count by three processes.
"""
PAUSES = 2
"""The length of the pause after a slow read, in that of the read."""
SHORT_SECONDS = 0.01
"""A read that takes less is not followed by a pause."""
MAX_PAUSE_SECONDS = 2.0
MAX_WAIT_SECONDS = 5.0
"""Seconds after which a slow read begins whatever the others do."""
MAX_WAITING = 100_000
"""A nominal bound: admission limits the requests to `MAX_IN_FLIGHT`."""


class Turns:
    """The turns of the slow reads in one event loop."""

    def __init__(self, limit: int) -> None:
        self.places, self.requests = FairSemaphore(limit, MAX_WAITING), 0
        """The places, and the number of requests for slow lists that are served. Several may share a read."""

    async def take(self, served: FairSemaphore, read: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a slow read, which waits for its turn. `served` are the places of all requests."""
        if not self.has_others(served):
            return await read()
        caller = CURRENT_CALLER.get()
        if not self.places.take(caller) and not await self.places.wait(caller, MAX_WAIT_SECONDS):
            return await read()
        started = time.monotonic()
        try:
            return await read()
        finally:
            self.leave(served, time.monotonic() - started)

    def has_others(self, served: FairSemaphore) -> bool:
        """Return whether other requests than those for slow lists are served."""
        return served.limit - served.free > self.requests

    def leave(self, served: FairSemaphore, seconds: float) -> None:
        """Give the place to the next read, after a pause if this one took long and others are served."""
        caller = CURRENT_CALLER.get()
        if seconds < SHORT_SECONDS or not self.has_others(served):
            self.places.release(caller)
            return
        asyncio.get_running_loop().call_later(min(PAUSES * seconds, MAX_PAUSE_SECONDS), self.places.release, caller)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def is_slow(query: "ListQuery") -> bool:
    """Return whether a list may read many rows."""
    given = query.given
    if "count" in given and given["count"] is not False:
        return True
    return given.get("offset", 0) > MANY_SKIPPED or query.is_search


@contextmanager
def counted(query: "ListQuery") -> Iterator[None]:
    """Count a request for a list, if it is slow, for the duration of the block."""
    turns = turns_of(query)
    if turns is None:
        yield
        return
    turns.requests += 1
    try:
        yield
    finally:
        turns.requests -= 1


async def in_turn(query: "ListQuery", read: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a read, which waits for its turn if it is slow."""
    turns = turns_of(query)
    return await (read() if turns is None or query.served is None else turns.take(query.served, read))


def turns_of(query: "ListQuery") -> Turns | None:
    """Return the turns of the slow reads of this event loop; None if the list is not slow."""
    if query.served is None or not query.given or not is_slow(query):
        return None
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        database = query.runtime.database
        _turns[loop] = Turns(1 if database.is_sqlite else max(1, database.pool.size // PART_OF_POOL))
    return _turns[loop]
