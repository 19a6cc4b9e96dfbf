"""Fairness: a semaphore and a connection pool that serve callers in turns, and reserve places for other resources.

The requests to one resource form a lane. If its table is locked, they wait, and hold their places and connections.
"""

import asyncio
import ipaddress
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from sqlalchemy import event, util
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from starlette.types import Scope

from kit.http.events import COUNTS

T = TypeVar("T")
R = TypeVar("R")
Caller = int | str
"""The id of a user, or an address."""
CURRENT_CALLER: ContextVar[Caller] = ContextVar("current_caller", default="")
"""The caller of the request that this task serves; empty outside of requests."""
REQUESTS = "kit.requests"
"""The key in the ASGI scope of the semaphore of all requests that are served."""
CURRENT_LANE: ContextVar[str] = ContextVar("current_lane", default="")
"""The lane of the request that this task serves; empty outside of requests."""
RESOURCE = re.compile(r"(?:/api|/v\d+)*/[^/]*")
CONNECTION_SHARE = 2
"""The largest ratio of a lane's connections to the free ones: two thirds of all, while other lanes have none."""
MAX_WAITING_FOR_CONNECTION = 100_000
"""A nominal bound: admission limits the requests to `MAX_IN_FLIGHT`."""
PLACE = "kit.place"
"""The key in the `record_info` of a connection: the semaphore of its place, and the caller and lane that hold it."""


def caller_of(scope: Scope, known: Mapping[bytes, int]) -> Caller:
    """Return the user of the request's credentials, if they were valid before; otherwise the network of the client.

    Requests with unchecked credentials count for the address, so that invented credentials have no advantage.
    """
    if known:
        for name, value in scope["headers"]:
            if name == b"authorization" and value in known:
                return known[value]
    client = scope.get("client")
    return network_of(client[0]) if client else ""


def network_of(address: str) -> str:
    """Return the address; for IPv6 the /64 network, which one customer usually gets (RFC 6177)."""
    if ":" not in address:
        return address
    try:
        known = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(known.ipv4_mapped or ipaddress.IPv6Network((known.packed, 64), strict=False).network_address)


def lane_of(path: str) -> str:
    """Return the lane of a request: the beginning of its path, which is the same for all requests to a resource."""
    found = RESOURCE.match(path)
    return found[0] if found else ""


class Waiter:
    """A request of a lane that waits for a place."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.has_place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class FairSemaphore:
    """At most `limit` places, for which at most `max_waiting` requests wait.

    While all are taken, the next free place goes to the caller with the fewest places; callers with equally many take
    turns. When too many requests wait, the last request of the caller with the most waiting requests is refused. So a
    caller that sends few requests waits for few requests, however many the others send.

    With `share`, a lane gets a place only while it has fewer than `share` times the free places. So other lanes still
    get places if all requests of one lane wait for a locked table (*dynamic thresholds*, Choudhury and Hahne
    1998). Requests without a lane have no such bound.
    """

    def __init__(self, limit: int, max_waiting: int, share: int | None = None) -> None:
        self.limit, self.max_waiting, self.share = limit, max_waiting, share
        self.free, self.waiting = limit, 0
        self.lanes: dict[str, int] = {}
        """The number of places of each lane."""
        self.callers: dict[Caller, int] = {}  # a Counter takes three times as long, twice in every request
        """The number of places of each caller."""
        self.queues: dict[Caller, deque[Waiter]] = {}

    def take(self, caller: Caller, lane: str = "") -> bool:
        """Take a place if one is free for this lane."""
        if self.free <= 0 or (self.share is not None and not self.has_place_for(lane)):
            return False
        self.free -= 1
        self.callers[caller] = self.callers.get(caller, 0) + 1
        self.lanes[lane] = self.lanes.get(lane, 0) + 1
        return True

    def has_place_for(self, lane: str) -> bool:
        return self.free > 0 and (self.share is None or not lane or self.lanes.get(lane, 0) < self.share * self.free)

    async def wait(self, caller: Caller, seconds: float, lane: str = "") -> bool:
        """Wait for a place after `take` returned False. Returns False after the timeout, or if too many wait."""
        if self.waiting >= self.max_waiting and not self.refuse_last_of_other(caller):
            return False
        waiter = Waiter(lane)
        queue = self.queues.setdefault(caller, deque())
        queue.append(waiter)
        self.waiting += 1
        timer = asyncio.get_running_loop().call_later(seconds, self.give_up, caller, waiter)
        try:
            return await waiter.has_place
        except asyncio.CancelledError:
            future = waiter.has_place
            if future.done() and not future.cancelled() and future.result():
                self.release(caller, lane)
            raise
        finally:
            timer.cancel()
            self.give_up(caller, waiter)

    def give_up(self, caller: Caller, waiter: Waiter) -> None:
        """Remove a request from the queue, if it still waits."""
        queue = self.queues.get(caller, ())
        if waiter in queue:
            self.leave(caller, waiter)
        if not waiter.has_place.done():
            waiter.has_place.set_result(False)

    def leave(self, caller: Caller, waiter: Waiter) -> None:
        queue = self.queues.pop(caller)
        queue.remove(waiter)
        self.waiting -= 1
        if queue:
            self.queues[caller] = queue  # behind the others, who have their turns first

    def refuse_last_of_other(self, caller: Caller) -> bool:
        """Refuse the last waiting request of the caller with the most, unless that is this caller."""
        longest = max(self.queues, key=lambda other: len(self.queues[other]), default=caller)
        if longest == caller or len(self.queues[longest]) <= len(self.queues.get(caller, ())) + 1:
            return False
        self.give_up(longest, self.queues[longest][-1])
        return True

    def release(self, caller: Caller, lane: str = "") -> None:
        """Release a place, or pass it to the waiting caller with the fewest places."""
        remaining = self.callers.pop(caller) - 1
        if remaining:
            self.callers[caller] = remaining
        in_lane = self.lanes.pop(lane) - 1
        if in_lane:
            self.lanes[lane] = in_lane
        self.free += 1
        if self.queues:
            self.admit_waiting()

    def admit_waiting(self) -> None:
        """Pass the free places to waiting requests, as far as their lanes have a place for them."""
        while self.free > 0 and self.queues and (found := self.next_waiter()) is not None:
            caller, waiter = found
            self.leave(caller, waiter)
            if not waiter.has_place.done():
                self.take(caller, waiter.lane)
                waiter.has_place.set_result(True)

    def next_waiter(self) -> tuple[Caller, Waiter] | None:
        """Return the request that gets the next place, and its caller; None if no place is free for their lanes.

        Of the callers with the fewest places it is the one waiting longest.
        """
        for caller in sorted(self.queues, key=self.places_of):
            for waiter in self.queues[caller]:
                if self.has_place_for(waiter.lane):
                    return caller, waiter
        return None

    def places_of(self, caller: Caller) -> int:
        return self.callers.get(caller, 0)

    def exceeds_share(self, caller: Caller) -> bool:
        """Return whether this caller uses more than its share of the places."""
        callers = self.callers.keys() | self.queues.keys() | {caller}
        used = self.places_of(caller) + len(self.queues.get(caller, ()))
        return len(callers) > 1 and used * len(callers) > self.limit - self.free + self.waiting


async def in_turns(make: Callable[[T], R], items: Sequence[T], at_once: int = 50) -> list[R]:
    """Return what a function makes of each item. After `at_once` of them other requests have their turns."""
    made = list(map(make, items[:at_once]))
    for start in range(at_once, len(items), at_once):
        await asyncio.sleep(0)
        made += map(make, items[start : start + at_once])
    return made


def quieten(pool: type[Any]) -> None:
    """Give the log of a pool the level of SQLAlchemy's pools: its logger is named after the class."""
    logger = logging.getLogger(f"{pool.__module__}.{pool.__qualname__}")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool for asyncio. While all connections are used, callers get the next one in turns."""

    def __init__(
        self, creator: Any, pool_size: int = 5, max_overflow: int = 10, timeout: float = 30, **options: Any
    ) -> None:
        super().__init__(creator, pool_size, max_overflow, timeout, **options)
        quieten(type(self))
        self.seconds = timeout
        self.turns = FairSemaphore(pool_size + max_overflow, MAX_WAITING_FOR_CONNECTION, CONNECTION_SHARE)
        event.listen(self, "checkin", release_place)
        event.listen(self, "detach", release_place)

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; after `timeout` seconds without one an error, as SQLAlchemy raises it.

        Runs in a greenlet.
        """
        caller, lane = CURRENT_CALLER.get(), CURRENT_LANE.get()
        if not self.turns.take(caller, lane) and not util.await_only(self.turns.wait(caller, self.seconds, lane)):
            raise self.exhausted()
        try:
            connection = super().connect()
        except BaseException as failure:
            self.turns.release(caller, lane)
            self.raise_named(failure)
            raise
        info = connection.record_info
        assert info is not None  # never None for a connection that is not detached
        info[PLACE] = self.turns, caller, lane
        return connection

    def exhausted(self) -> PoolTimeoutError:
        """Count a refused connection, and return the error of SQLAlchemy's own pool for it."""
        COUNTS["refused", "pool"] += 1
        sizes = f"size {self.size()} overflow {self.turns.limit - self.size()}"
        detail = f"QueuePool limit of {sizes} reached, connection timed out, timeout {self.seconds:.2f}"
        return PoolTimeoutError(detail, code="3o7r")

    def raise_named(self, failure: BaseException) -> None:
        """Raise another exception in place of the one of a connection that could not be made, or do nothing."""


def release_place(_: object, record: Any) -> None:
    """Release the place of a connection, if `connect` has returned it: if it failed, it released the place itself.

    The pool that `dispose` creates inherits this listener and adds it again, so the second call finds no place.
    """
    place = record.record_info.pop(PLACE, None)
    if place is not None:
        turns, caller, lane = place
        turns.release(caller, lane)
