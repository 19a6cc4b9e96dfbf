"""Fairness: the caller of a request, and a semaphore and a connection pool that serve callers in turns."""

import asyncio
import ipaddress
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event, util
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from starlette.types import Scope

from kit.http.events import COUNTS

Caller = int | str
"""The id of a user, or an address."""
CURRENT_CALLER: ContextVar[Caller] = ContextVar("current_caller", default="")
"""The caller of the request that this task serves; empty outside of requests."""
MAX_WAITING_FOR_CONNECTION = 100_000
"""A nominal bound: admission limits the requests to `MAX_IN_FLIGHT`."""
PLACE = "kit.place"
"""The key in the `record_info` of a connection: the semaphore of its place, and the caller that holds it."""


def caller_of(scope: Scope, known: Mapping[bytes, int]) -> Caller:
    """Return the user of the request's credentials, if they were valid before; otherwise the network of the client.

    Requests with unchecked credentials count for the address, so that invented credentials have no advantage.
    """
    if known:
        for name, value in scope["headers"]:
            if name == b"authorization":
                user = known.get(value)
                if user is not None:
                    return user
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


class FairSemaphore:
    """At most `limit` places, for which at most `max_waiting` requests wait.

    While all are taken, the next one goes to the caller that holds the fewest, and among equals in turns. When too
    many wait, the caller with the most waiting requests loses its last one. So a caller that sends few requests waits
    for few, whatever the others send.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit, self.max_waiting = limit, max_waiting
        self.free, self.waiting = limit, 0
        self.held: dict[Caller, int] = {}  # a Counter takes three times as long, twice in every request
        self.queues: dict[Caller, deque[asyncio.Future[bool]]] = {}

    def take(self, caller: Caller) -> bool:
        """Take a place if one is free."""
        if self.free <= 0:
            return False
        self.free -= 1
        self.held[caller] = self.held.get(caller, 0) + 1
        return True

    async def wait(self, caller: Caller, seconds: float) -> bool:
        """Wait for a place after `take` returned False. Returns False after the timeout, or if too many wait."""
        if self.waiting >= self.max_waiting and not self.drop_other_than(caller):
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue = self.queues.setdefault(caller, deque())
        queue.append(turn)
        self.waiting += 1
        timer = asyncio.get_running_loop().call_later(seconds, self.give_up, caller, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.release(caller)
            raise
        finally:
            timer.cancel()
            self.give_up(caller, turn)

    def give_up(self, caller: Caller, turn: "asyncio.Future[bool]") -> None:
        """Remove a request from the queue, if it still waits."""
        queue = self.queues.get(caller, ())
        if turn in queue:
            self.leave(caller, turn)
        if not turn.done():
            turn.set_result(False)

    def leave(self, caller: Caller, turn: "asyncio.Future[bool]") -> None:
        queue = self.queues.pop(caller)
        queue.remove(turn)
        self.waiting -= 1
        if queue:
            self.queues[caller] = queue  # behind the others, who have their turns first

    def drop_other_than(self, caller: Caller) -> bool:
        """Refuse the last waiting request of the caller with the most, unless that is this caller."""
        longest = max(self.queues, key=lambda other: len(self.queues[other]), default=caller)
        if longest == caller or len(self.queues[longest]) <= len(self.queues.get(caller, ())) + 1:
            return False
        self.give_up(longest, self.queues[longest][-1])
        return True

    def release(self, caller: Caller) -> None:
        """Release a place, or pass it to the waiting caller with the fewest places."""
        remaining = self.held.pop(caller) - 1
        if remaining:
            self.held[caller] = remaining
        while self.queues:
            following = self.following()
            turn = self.queues[following][0]
            self.leave(following, turn)
            if not turn.done():
                self.held[following] = self.places_of(following) + 1
                turn.set_result(True)
                return
        self.free += 1

    def following(self) -> Caller:
        """Return the caller that gets the next place: of those with the fewest places, the one waiting longest."""
        return min(self.queues, key=self.places_of)

    def places_of(self, caller: Caller) -> int:
        return self.held.get(caller, 0)

    def is_greedy(self, caller: Caller) -> bool:
        """Return whether this caller uses more than its share of the places."""
        callers = self.held.keys() | self.queues.keys() | {caller}
        used = self.places_of(caller) + len(self.queues.get(caller, ()))
        return len(callers) > 1 and used * len(callers) > self.limit - self.free + self.waiting


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool for asyncio. While all connections are used, callers get the next one in turns."""

    def __init__(
        self, creator: Any, pool_size: int = 5, max_overflow: int = 10, timeout: float = 30, **options: Any
    ) -> None:
        super().__init__(creator, pool_size, max_overflow, timeout, **options)
        self.seconds, self.turns = timeout, FairSemaphore(pool_size + max_overflow, MAX_WAITING_FOR_CONNECTION)
        event.listen(self, "checkin", give_back)
        event.listen(self, "detach", give_back)

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; after `timeout` seconds without one an error, as SQLAlchemy raises it.

        Runs in a greenlet.
        """
        caller = CURRENT_CALLER.get()
        if not self.turns.take(caller) and not util.await_only(self.turns.wait(caller, self.seconds)):
            COUNTS["refused", "pool"] += 1
            sizes = f"size {self.size()} overflow {self.turns.limit - self.size()}"
            detail = f"QueuePool limit of {sizes} reached, connection timed out, timeout {self.seconds:.2f}"
            raise PoolTimeoutError(detail, code="3o7r")
        try:
            connection = super().connect()
        except Exception as failure:
            self.turns.release(caller)
            if (named := self.named(failure)) is failure:
                raise
            raise named from failure
        except BaseException:
            self.turns.release(caller)
            raise
        info = connection.record_info
        assert info is not None  # never None for a connection that is not detached
        info[PLACE] = self.turns, caller
        return connection

    def named(self, failure: Exception) -> Exception:
        """Return the exception to raise for a connection that could not be made."""
        return failure


def give_back(_: object, record: Any) -> None:
    """Release the place of a connection, if `connect` has returned it: if it failed, it released the place itself.

    The pool that `dispose` creates inherits this listener and adds it again, so the second call finds no place.
    """
    place = record.record_info.pop(PLACE, None)
    if place is not None:
        turns, caller = place
        turns.release(caller)
