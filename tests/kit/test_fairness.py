"""Fairness: callers take turns, whatever number of requests each of them sends."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from starlette.requests import HTTPConnection

from kit import Authenticator, Database, Principal, Tokens, Who
from kit.auth import authentication
from kit.auth.authentication import PRINCIPAL
from kit.database.engines import Pool
from kit.http.fairness import CURRENT_CALLER, CURRENT_LANE, Caller, FairPool, FairSemaphore, caller_of, lane_of
from tests.engines import url_for
from tests.kit.probes import TIMEOUT_SECONDS
from tests.waiting import until


def scope_of(client: str | None, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"client": None if client is None else (client, 1), "headers": list(headers)}


TOKEN = (b"authorization", b"Bearer valid")


@pytest.mark.parametrize(
    ("scope", "caller"),
    [
        (scope_of("10.0.0.1"), "10.0.0.1"),
        (scope_of("10.0.0.1", TOKEN), 7),
        (scope_of("10.0.0.1", (b"accept", b"*/*"), (b"authorization", b"Bearer invented")), "10.0.0.1"),
        (scope_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::"),
        (scope_of("::ffff:10.0.0.1"), "10.0.0.1"),
        (scope_of("fe80::no-address"), "fe80::no-address"),
        (scope_of(None), ""),
    ],
)
def test_a_request_counts_for_its_user_or_else_for_its_network(scope: dict[str, Any], caller: Caller) -> None:
    assert caller_of(scope, {TOKEN[1]: 7}) == caller


def test_while_no_credentials_are_known_addresses_count() -> None:
    assert caller_of(scope_of("10.0.0.1", TOKEN), {}) == "10.0.0.1"


class WaitingCallers:
    """Callers that wait for slots of one semaphore, and the order in which they got them."""

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.slots, self.served = FairSemaphore(limit, max_waiting), list[Caller]()

    async def wait(self, caller: Caller, number: int, seconds: float = TIMEOUT_SECONDS) -> list["asyncio.Task[bool]"]:
        tasks = [asyncio.create_task(self.enter(caller, seconds)) for _ in range(number)]
        await asyncio.sleep(0)
        return tasks

    async def enter(self, caller: Caller, seconds: float) -> bool:
        has_slot = self.slots.take(caller) or await self.slots.wait(caller, seconds)
        if has_slot:
            self.served.append(caller)
        return has_slot

    async def release(self, caller: Caller) -> None:
        self.slots.release(caller)
        await asyncio.sleep(0)


async def test_a_free_slot_goes_to_the_caller_who_holds_the_fewest() -> None:
    callers = WaitingCallers(limit=2, max_waiting=100)
    await callers.wait("greedy", 50)
    await callers.wait("modest", 1)
    await callers.release("greedy")
    assert callers.served == ["greedy", "greedy", "modest"]


async def test_callers_who_hold_as_much_take_turns() -> None:
    callers = WaitingCallers(limit=1, max_waiting=100)
    for caller in ("first", "second", "third"):
        await callers.wait(caller, 4)
    for number in range(9):
        await callers.release(callers.served[number])
    assert callers.served[1:10] == ["first", "second", "third"] * 3


async def test_callers_who_ask_for_as_much_get_as_much() -> None:
    callers = WaitingCallers(limit=4, max_waiting=100)
    for caller in ("first", "second"):
        await callers.wait(caller, 20)
    for number in range(12):
        await callers.release(callers.served[number])
    assert abs(Counter(callers.served[4:])["first"] - Counter(callers.served[4:])["second"]) <= 4


async def test_when_too_many_wait_the_caller_with_the_most_loses_its_last_request() -> None:
    callers = WaitingCallers(limit=1, max_waiting=3)
    _, *waiting = await callers.wait("greedy", 4)
    (modest,) = await callers.wait("modest", 1)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, False, True]
    assert waiting[2].result() is False
    assert callers.slots.exceeds_share("greedy")
    assert not callers.slots.exceeds_share("modest")
    for _ in range(2):
        await callers.release(callers.served[-1])
    assert await modest


async def test_a_caller_who_is_alone_is_not_greedy_but_may_find_no_slot() -> None:
    callers = WaitingCallers(limit=1, max_waiting=2)
    *_, last = await callers.wait("only", 4)
    assert await last is False
    assert not callers.slots.exceeds_share("only")


async def test_who_has_waited_long_enough_is_refused_and_leaves_no_trace() -> None:
    callers = WaitingCallers(limit=1, max_waiting=2)
    _, late = await callers.wait("only", 2, seconds=0.01)
    assert await late is False
    await callers.release("only")
    assert (callers.slots.free, callers.slots.waiting, callers.slots.queues, callers.slots.callers) == (
        1,
        0,
        {},
        {},
    )


async def test_who_leaves_gives_back_the_slot_that_it_was_just_given() -> None:
    callers = WaitingCallers(limit=1, max_waiting=3)
    _, gone, leaving, staying = await callers.wait("only", 4)
    gone.cancel()
    callers.slots.release("only")
    leaving.cancel()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        assert await staying
    assert (callers.slots.free, callers.slots.waiting) == (0, 0)


@pytest.fixture
async def pooled(library_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine whose pool has one connection."""
    database = Database(url_for(library_url), Pool(size=1, overflow=0, timeout=0.2))
    yield database.reader
    await database.dispose()


def turns_of(engine: AsyncEngine) -> FairSemaphore:
    assert isinstance(engine.pool, FairPool)
    return engine.pool.turns


async def use(engine: AsyncEngine, caller: Caller, order: list[Caller]) -> None:
    CURRENT_CALLER.set(caller)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        order.append(caller)


async def test_a_request_that_has_returned_the_only_connection_waits_for_another_one(pooled: AsyncEngine) -> None:
    CURRENT_LANE.set("shelves")
    order: list[Caller] = []
    connection = await pooled.connect()
    other = asyncio.create_task(use(pooled, "other", order))
    await until(lambda: turns_of(pooled).waiting == 1)
    await connection.close()
    await use(pooled, "first", order)
    await other
    assert order == ["other", "first"]


async def test_callers_get_connections_in_turns(pooled: AsyncEngine) -> None:
    order: list[Caller] = []
    async with pooled.connect():
        greedy = [asyncio.create_task(use(pooled, "greedy", order)) for _ in range(5)]
        await asyncio.sleep(0)
        modest = asyncio.create_task(use(pooled, "modest", order))
        await asyncio.sleep(0)
    await asyncio.gather(*greedy, modest)
    assert order == ["greedy", "modest", *["greedy"] * 4]


async def connected(engine: AsyncEngine) -> None:
    async with engine.connect():
        pass


async def test_without_a_connection_in_time_the_error_is_that_of_a_full_pool(pooled: AsyncEngine) -> None:
    async with pooled.connect():
        with pytest.raises(PoolTimeoutError):
            await asyncio.create_task(connected(pooled))
    assert turns_of(pooled).free == 1


async def test_a_connection_that_is_not_made_takes_no_slot(
    pooled: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AsyncAdaptedQueuePool, "connect", lambda _: pytest.fail("There is no server."))
    with pytest.raises(pytest.fail.Exception):
        await pooled.connect()
    assert turns_of(pooled).free == 1


async def test_what_was_invalidated_or_detached_gives_back_its_slot(pooled: AsyncEngine) -> None:
    async with pooled.connect() as connection:
        await connection.invalidate()
    assert turns_of(pooled).free == 1
    detached = await pooled.raw_connection()
    driver: Any = detached.driver_connection
    detached.detach()
    assert turns_of(pooled).free == 1
    await driver.close()


async def test_after_dispose_the_new_pool_counts_its_connections(pooled: AsyncEngine) -> None:
    for _ in range(3):
        async with pooled.connect():
            assert turns_of(pooled).free == 0
        assert turns_of(pooled).free == 1
        await pooled.dispose()


async def test_a_failed_reconnection_gives_back_its_slot(pooled: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pooled.connect() as connection:
        await connection.invalidate()
    with monkeypatch.context() as patch:
        patch.setattr(pooled.dialect, "connect", lambda *_, **__: (_ for _ in ()).throw(OSError("unreachable")))
        with pytest.raises(OSError, match="unreachable"):
            await pooled.connect()
    assert turns_of(pooled).free == 1
    async with pooled.connect():
        assert turns_of(pooled).free == 0


async def anonymous(*_: object) -> None:
    return None


def test_a_bounded_number_of_credentials_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_KNOWN", 2)
    authenticator = Authenticator(True, Tokens([b"k" * 32], "test", timedelta(minutes=1)), anonymous)
    for number in range(1, 4):
        authenticator._note(b"Bearer %d" % number, Principal(number))
    authenticator._note(b"Bearer 2", None)
    assert authenticator.known_callers == {b"Bearer 3": 3}


async def test_the_principal_of_a_request_is_determined_once() -> None:
    connection = HTTPConnection({"type": "http", "headers": [], PRINCIPAL: Principal(7)})
    authenticator = Authenticator(True, Tokens([b"k" * 32], "test", timedelta(minutes=1)), anonymous)
    await authenticator.admit(connection, Who.MEMBERS)
    assert await authenticator.caller(connection, Who.MEMBERS) == Principal(7)


@pytest.mark.parametrize(
    ("path", "lane"),
    [
        ("/invoices/", "/invoices"),
        ("/invoices/17", "/invoices"),
        ("/api/v1/invoices/bulk", "/api/v1/invoices"),
        ("/v2/teams", "/v2/teams"),
        ("/", "/"),
        ("", ""),
        ("*", ""),
    ],
)
def test_the_requests_to_a_resource_are_a_lane(path: str, lane: str) -> None:
    assert lane_of(path) == lane


async def test_a_lane_leaves_slots_to_others() -> None:
    slots = FairSemaphore(30, 100, share=2)
    assert [sum(slots.take("any", lane) for _ in range(30)) for lane in ("/a", "/b", "/c", "/d")] == [20, 7, 2, 1]
    assert slots.free == 0


async def test_requests_without_a_lane_may_have_all_slots() -> None:
    slots = FairSemaphore(3, 100, share=2)
    assert [slots.take("any") for _ in range(4)] == [True, True, True, False]


async def test_a_request_of_another_lane_does_not_wait_behind_those_of_a_full_lane() -> None:
    slots = FairSemaphore(6, 100, share=2)
    while slots.take("any", "/full"):
        pass
    waiting = [asyncio.create_task(slots.wait("any", TIMEOUT_SECONDS, lane)) for lane in ("/full", "/full")]
    await asyncio.sleep(0)
    assert slots.take("any", "/other")
    assert slots.take("any", "/other")
    other = asyncio.create_task(slots.wait("any", TIMEOUT_SECONDS, "/third"))
    await asyncio.sleep(0)
    slots.release("any", "/other")
    assert await asyncio.wait_for(other, TIMEOUT_SECONDS)
    assert [task.done() for task in waiting] == [False, False]
    for _ in range(4):
        slots.release("any", "/full")
    assert await asyncio.gather(*waiting) == [True, True]


async def test_a_slot_is_passed_on_without_a_look_at_each_request_that_waits() -> None:
    class Counted(FairSemaphore):
        looks = 0

        def has_slot_for(self, lane: str) -> bool:
            self.looks += 1
            return super().has_slot_for(lane)

    slots = Counted(6, 1000, share=2)
    while slots.take("any", "/full"):
        pass
    waiting = [asyncio.create_task(slots.wait("any", TIMEOUT_SECONDS, "/full")) for _ in range(1000)]
    await asyncio.sleep(0)
    slots.looks = 0
    slots.release("any", "/full")
    assert await asyncio.wait_for(waiting[0], TIMEOUT_SECONDS)
    assert slots.looks < 10
    for task in waiting:
        task.cancel()
