"""Slow reads: limits the lists that may read many rows, with pauses between them, while other requests are served.

A slow read is a list that searches, counts rows, or has a large offset. Without a limit, a few clients that search all
the time would use most of the processor time. Callers take turns (`FairSemaphore`).

    other requests are served:  at most `limit` slow reads run at the same time; after a long one, its slot stays
                                occupied for twice the duration of the read
    none are served:            a slow read begins at once
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from kit.http.fairness import CURRENT_CALLER, UNREACHED, FairSemaphore

if TYPE_CHECKING:
    from kit.query.list_query import ListQuery

T = TypeVar("T")
MANY_SKIPPED = 10_000
"""The maximum offset of a list that is not slow."""
PART_OF_POOL = 30
"""Slow reads use at most this fraction of PostgreSQL's connections (1/30), at least one; on SQLite one.

PostgreSQL may execute a single count by three processes.
"""
PAUSES = 2
"""The duration of the pause after a slow read, in multiples of the duration of the read."""
SHORT_SECONDS = 0.01
"""A read that takes less time is not followed by a pause."""
MAX_PAUSE_SECONDS = 2.0
MAX_WAIT_SECONDS = 5.0
"""The maximum wait of a slow read. Then it begins without a slot."""


class Turns:
    """The semaphore of slow reads in an event loop."""

    def __init__(self, limit: int) -> None:
        self.slots, self.requests = FairSemaphore(limit, UNREACHED), 0
        """The slots, and the number of requests for slow lists being served, several of which may share a read."""

    async def take(self, served: FairSemaphore, read: Callable[[], Awaitable[T]]) -> T:
        """Wait for a slot, and return the result of a slow read. `served` is the semaphore of all requests."""
        if not self.has_others(served):
            return await read()
        caller = CURRENT_CALLER.get()
        if not self.slots.take(caller) and not await self.slots.wait(caller, MAX_WAIT_SECONDS):
            return await read()
        started = time.monotonic()
        try:
            return await read()
        finally:
            self.leave(served, time.monotonic() - started)

    def has_others(self, served: FairSemaphore) -> bool:
        """Return whether requests other than those for slow lists are being served."""
        return served.limit - served.free > self.requests

    def leave(self, served: FairSemaphore, seconds: float) -> None:
        """Release the slot; after a pause if the read took long and other requests are being served."""
        caller = CURRENT_CALLER.get()
        if seconds < SHORT_SECONDS or not self.has_others(served):
            self.slots.release(caller)
            return
        asyncio.get_running_loop().call_later(min(PAUSES * seconds, MAX_PAUSE_SECONDS), self.slots.release, caller)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def is_slow(query: "ListQuery") -> bool:
    """Return whether a list may read many rows."""
    given = query.given
    if "count" in given and given["count"] is not False:
        return True
    return given.get("offset", 0) > MANY_SKIPPED or query.is_search


@contextmanager
def counted(query: "ListQuery") -> Iterator[None]:
    """Count a request for a slow list in `Turns.requests` for the duration of the block."""
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
    """Return the result of `read()`. If the list is slow, it first waits for a slot."""
    turns = turns_of(query)
    return await (read() if turns is None or query.served is None else turns.take(query.served, read))


def turns_of(query: "ListQuery") -> Turns | None:
    """Return the semaphore of slow reads of this event loop; None if the list is not slow."""
    if query.served is None or not query.given or not is_slow(query):
        return None
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        database = query.runtime.database
        _turns[loop] = Turns(1 if database.is_sqlite else max(1, database.pool.size // PART_OF_POOL))
    return _turns[loop]
