"""Fairness: a semaphore and a connection pool that serve callers in turns, and keep slots free for other resources.

A *slot* is a unit of the semaphore, which a request or a connection occupies. The requests to one resource form a
*lane*. If the table of the resource is locked, its requests wait, and would otherwise occupy all slots and connections.
"""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import ref

from sqlalchemy import event, util
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from starlette.types import Scope

from kit.http.events import COUNTS

T = TypeVar("T")
R = TypeVar("R")
Caller = int | str
"""The key by which requests are shared fairly: the id of a user, or an address."""
CURRENT_CALLER: ContextVar[Caller] = ContextVar("current_caller", default="")
"""The caller of the request that this task serves; empty outside of requests."""
REQUESTS = "kit.requests"
"""The key in the ASGI scope of the `FairSemaphore` of all requests."""
CURRENT_LANE: ContextVar[str] = ContextVar("current_lane", default="")
"""The lane of the request that this task serves; empty outside of requests."""
RESOURCE = re.compile(r"(?:/api|/v\d+)*/[^/]*")
CONNECTION_SHARE = 2
"""The maximum ratio of a lane's connections to the free ones. A lane alone gets two thirds of all connections."""
UNREACHED = 100_000
"""A number of waiting requests that is never reached: admission limits the number of requests to `MAX_IN_FLIGHT`."""
SLOT = "kit.slot"
"""The key in `record_info` of a connection, of the semaphore of its slot, and the caller and lane that occupy it."""


def caller_of(scope: Scope, known: Mapping[bytes, int]) -> Caller:
    """Return the user of the request's `Authorization` if `known` has it; otherwise the network of the client.

    `known` are the user ids of headers that were valid before. A request with other credentials counts for its address,
    so that invented credentials give no further share.
    """
    if known:
        for name, value in scope["headers"]:
            if name == b"authorization" and value in known:
                return known[value]
    client = scope.get("client")
    return network_of(client[0]) if client else ""


def network_of(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address, which one site usually gets (RFC 6177)."""
    if ":" not in address:
        return address
    try:
        known = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(known.ipv4_mapped or ipaddress.IPv6Network((known.packed, 64), strict=False).network_address)


def lane_of(path: str) -> str:
    """Return the lane of a request: the first segment of its path, with a prefix such as `/api` or `/v1`."""
    found = RESOURCE.match(path)
    return found[0] if found else ""


class Waiter:
    """A request that waits for a slot. `has_slot` is resolved to True with a slot, to False without one."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.has_slot: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class FairSemaphore:
    """A semaphore with `limit` slots, for which at most `max_waiting` requests wait.

    A slot that becomes free goes to the waiting caller with the fewest slots; callers with equally many take turns.
    When too many requests wait, the last one of the caller with the most waiting requests is refused. Therefore a
    caller that sends few requests waits for few requests, however many other callers send.

    With `share`, a lane gets a slot only if it has fewer than `share` times as many slots as are free. Therefore other
    lanes still get slots if all requests of one lane wait for a locked table (*dynamic thresholds*, Choudhury and Hahne
    1998). Requests without a lane (an empty text) have no such bound.
    """

    def __init__(self, limit: int, max_waiting: int, share: int | None = None) -> None:
        self.limit, self.max_waiting, self.share = limit, max_waiting, share
        self.free, self.waiting = limit, 0
        self.lanes: dict[str, int] = {}
        """The number of occupied slots by lane."""
        self.callers: dict[Caller, int] = {}  # a Counter takes three times as long, twice in every request
        """The number of occupied slots by caller."""
        self.queues: dict[Caller, dict[Waiter, None]] = {}
        """The waiting requests by caller, the first one first."""
        self.waiting_lanes: dict[str, int] = {}
        """The number of waiting requests by lane."""

    def take(self, caller: Caller, lane: str = "") -> bool:
        """Occupy a slot if one is free for this lane. Returns whether it did. Each slot needs a `release`."""
        if self.free <= 0 or (self.share is not None and not self.has_slot_for(lane)):
            return False
        self.free -= 1
        self.callers[caller] = self.callers.get(caller, 0) + 1
        self.lanes[lane] = self.lanes.get(lane, 0) + 1
        return True

    def has_slot_for(self, lane: str) -> bool:
        return self.free > 0 and (self.share is None or not lane or self.lanes.get(lane, 0) < self.share * self.free)

    async def wait(self, caller: Caller, seconds: float, lane: str = "") -> bool:
        """Wait for a slot, after `take` has returned False. Returns False after `seconds`, or if too many wait."""
        if self.waiting >= self.max_waiting and not self.refuse_last_of_other(caller):
            return False
        waiter = Waiter(lane)
        self.queues.setdefault(caller, {})[waiter] = None
        self.waiting += 1
        self.waiting_lanes[lane] = self.waiting_lanes.get(lane, 0) + 1
        timer = asyncio.get_running_loop().call_later(seconds, self.give_up, caller, waiter)
        try:
            return await waiter.has_slot
        except asyncio.CancelledError:
            future = waiter.has_slot
            if future.done() and not future.cancelled() and future.result():
                self.release(caller, lane)
            raise
        finally:
            timer.cancel()
            self.give_up(caller, waiter)

    def give_up(self, caller: Caller, waiter: Waiter) -> None:
        """Remove a request from its queue if it still waits, without a slot."""
        if waiter in self.queues.get(caller, ()):
            self.leave(caller, waiter)
        if not waiter.has_slot.done():
            waiter.has_slot.set_result(False)

    def leave(self, caller: Caller, waiter: Waiter) -> None:
        queue = self.queues.pop(caller)
        del queue[waiter]
        self.waiting -= 1
        if queue:
            self.queues[caller] = queue  # at the end: other callers have their turns first
        in_lane = self.waiting_lanes.pop(waiter.lane) - 1
        if in_lane:
            self.waiting_lanes[waiter.lane] = in_lane

    def refuse_last_of_other(self, caller: Caller) -> bool:
        """Refuse the last request of the caller with the most waiting requests. Returns False if that is `caller`.

        It counts the new request of `caller` too, which is to wait instead.
        """
        longest = max(self.queues, key=lambda other: len(self.queues[other]), default=caller)
        if longest == caller or len(self.queues[longest]) <= len(self.queues.get(caller, ())) + 1:
            return False
        self.give_up(longest, next(reversed(self.queues[longest])))
        return True

    def release(self, caller: Caller, lane: str = "") -> None:
        """Release a slot, and pass it to a waiting request, if any."""
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
        """Give the free slots to waiting requests whose lanes may have another one."""
        while self.free > 0 and self.queues and (found := self.next_waiter()) is not None:
            caller, waiter = found
            self.leave(caller, waiter)
            if not waiter.has_slot.done():
                self.take(caller, waiter.lane)
                waiter.has_slot.set_result(True)

    def next_waiter(self) -> tuple[Caller, Waiter] | None:
        """Return the request that gets the next slot, with its caller; None if no lane may have another one.

        Its caller has the fewest slots; among equals, its turn is next.
        """
        lanes = {lane for lane in self.waiting_lanes if self.has_slot_for(lane)}
        if not lanes:  # without a look at the requests, of which many may wait
            return None
        callers = sorted(self.queues, key=self.slots_of)
        return next((caller, waiter) for caller in callers for waiter in self.queues[caller] if waiter.lane in lanes)

    def slots_of(self, caller: Caller) -> int:
        return self.callers.get(caller, 0)

    def exceeds_share(self, caller: Caller) -> bool:
        """Return whether a caller has more running and waiting requests than the average of all callers."""
        callers = self.callers.keys() | self.queues.keys() | {caller}
        used = self.slots_of(caller) + len(self.queues.get(caller, ()))
        return len(callers) > 1 and used * len(callers) > self.limit - self.free + self.waiting


async def in_turns(make: Callable[[T], R], items: Sequence[T], at_once: int = 50) -> list[R]:
    """Return `make(item)` for each item. After each `at_once` items, the event loop serves other requests."""
    made = list(map(make, items[:at_once]))
    for start in range(at_once, len(items), at_once):
        await asyncio.sleep(0)
        made += map(make, items[start : start + at_once])
    return made


def quieten(pool: type[Any]) -> None:
    """Set the log level of a pool class to WARNING, as SQLAlchemy's are: its logger has the name of the class."""
    logger = logging.getLogger(f"{pool.__module__}.{pool.__qualname__}")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def nobody() -> None:
    """Return None: no request has the connection."""


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool for asyncio. Callers that wait for a connection get one in turns, by a `FairSemaphore`."""

    def __init__(
        self, creator: Any, pool_size: int = 5, max_overflow: int = 10, timeout: float = 30, **options: Any
    ) -> None:
        super().__init__(creator, pool_size, max_overflow, timeout, **options)
        quieten(type(self))
        self.seconds = timeout
        self.turns = FairSemaphore(pool_size + max_overflow, UNREACHED, CONNECTION_SHARE)
        self.holder: Callable[[], asyncio.Task[Any] | None] = nobody
        """Returns the task of the request that has the connection, if the pool has only one."""
        event.listen(self, "checkin", release_slot)
        event.listen(self, "detach", release_slot)

    def connect(self) -> PoolProxiedConnection:
        """Return a connection. Raises SQLAlchemy's `TimeoutError` after `timeout` seconds. Must run in a greenlet."""
        caller, lane = CURRENT_CALLER.get(), CURRENT_LANE.get()
        if not self.turns.take(caller, lane):
            self.refuse_to_wait_for_itself(lane)
            if not util.await_only(self.turns.wait(caller, self.seconds, lane)):
                raise self.exhausted()
        try:
            connection = super().connect()
        except BaseException as failure:
            self.turns.release(caller, lane)
            self.raise_named(failure)
            raise
        info = connection.record_info
        assert info is not None  # never None for a connection that is not detached
        info[SLOT] = self, caller, lane
        if self.turns.limit == 1 and lane and (task := asyncio.current_task()):
            self.holder = ref(task)
        return connection

    def refuse_to_wait_for_itself(self, lane: str) -> None:
        """Raise a RuntimeError if this request has the only connection: it would wait until the timeout."""
        if lane and self.turns.limit == 1 and asyncio.current_task() is self.holder():
            raise RuntimeError(
                "This request holds the only connection (SQLite has one for writing), by its `Session` or by its "
                "Idempotency-Key, so a second session would wait for it in vain: write by the parameter `session: "
                "Session` of the handler, or open the second session in a background task."
            )

    def exhausted(self) -> PoolTimeoutError:
        """Count the request as refused, and return the exception that SQLAlchemy's own pool would raise."""
        COUNTS["refused", "pool"] += 1
        sizes = f"size {self.size()} overflow {self.turns.limit - self.size()}"
        detail = f"QueuePool limit of {sizes} reached, connection timed out, timeout {self.seconds:.2f}"
        return PoolTimeoutError(detail, code="3o7r")

    def raise_named(self, failure: BaseException) -> None:
        """Raise another exception instead of `failure`, with which connecting failed. By default, do nothing."""


def release_slot(_: object, record: Any) -> None:
    """Release the slot of a connection that is returned or detached. Listens to `checkin` and `detach`.

    It may be called twice, because the pool that `dispose` creates inherits this listener and adds it again; and for a
    connection without a slot, which `connect` has released after a failure.
    """
    slot = record.record_info.pop(SLOT, None)
    if slot is not None:
        pool, caller, lane = slot
        pool.holder = nobody
        pool.turns.release(caller, lane)
