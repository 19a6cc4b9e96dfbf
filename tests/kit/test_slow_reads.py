"""Slow reads take turns while other requests are served, so that the others keep most of their rate."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kit.http.fairness import CURRENT_CALLER, FairSemaphore
from kit.query import slow_reads
from kit.query.slow_reads import Turns, counted, in_turn, is_slow
from tests.kit.tales import TaleQuery, asked


class Reads:
    """Reads that run until the test ends them, and the maximum number that ran at the same time."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.order: list[str] = []

    async def read(self, name: str = "") -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.order.append(name)
        for _ in range(3):
            await asyncio.sleep(0)
        self.running -= 1
        return name


def served(requests: int) -> FairSemaphore:
    """Return the semaphore of a service that is serving this number of requests."""
    slots = FairSemaphore(100, 100)
    for _ in range(requests):
        assert slots.take("")
    return slots


async def test_one_slow_read_runs_at_a_time_while_others_are_served() -> None:
    turns, reads = Turns(1), Reads()
    await asyncio.gather(*(turns.take(served(9), reads.read) for _ in range(4)))
    assert (reads.most, turns.slots.free) == (1, 1)


async def test_slow_reads_have_no_bound_while_nothing_else_is_served() -> None:
    turns, reads, slots = Turns(1), Reads(), served(4)
    turns.requests = 4
    await asyncio.gather(*(turns.take(slots, reads.read) for _ in range(4)))
    assert reads.most == 4


async def test_callers_get_their_turns_one_after_another() -> None:
    turns, reads = Turns(1), Reads()

    async def ask(caller: str, name: str) -> None:
        CURRENT_CALLER.set(caller)
        await turns.take(served(9), lambda: reads.read(name))

    await asyncio.gather(ask("a", "a1"), ask("a", "a2"), ask("a", "a3"), ask("b", "b1"))
    assert reads.order.index("b1") < reads.order.index("a3")


async def test_a_read_that_took_long_is_followed_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_reads, "SHORT_SECONDS", 0)
    monkeypatch.setattr(slow_reads, "MAX_PAUSE_SECONDS", 0.001)
    turns, reads = Turns(1), Reads()
    await turns.take(served(9), reads.read)
    assert turns.slots.free == 0
    await turns.take(served(9), reads.read)
    assert reads.most == 1


async def test_a_read_that_waits_too_long_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_reads, "MAX_WAIT_SECONDS", 0.001)
    turns, reads = Turns(1), Reads()
    turns.slots.take("somebody")
    assert await turns.take(served(9), lambda: reads.read("late")) == "late"


async def test_the_slot_of_a_cancelled_read_is_free_again() -> None:
    turns = Turns(1)
    task = asyncio.create_task(turns.take(served(9), asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert turns.slots.free == 1


@pytest.mark.parametrize(
    ("given", "slow"),
    [
        ({}, False),
        ({"sort": "-pages", "offset": 10_000}, False),
        ({"pages": 3, "count": "false"}, False),
        ({"q": "fox"}, True),
        ({"title__contains": "Fox"}, True),
        ({"count": "true"}, True),
        ({"count": "estimated"}, True),
        ({"offset": 10_001}, True),
    ],
)
async def test_searches_counts_and_large_offsets_are_slow(given: dict[str, Any], slow: bool) -> None:
    query = asked(None, TaleQuery, **given)  # type: ignore[arg-type]
    assert is_slow(query) == slow


@pytest.mark.parametrize(("is_sqlite", "limit"), [(True, 1), (False, 2)])
async def test_the_bound_depends_on_the_database(is_sqlite: bool, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        size = 60

    class Place:
        pool = Pool()

    monkeypatch.setattr(slow_reads, "_turns", {})
    database: Any = Place()
    database.is_sqlite = is_sqlite
    query = asked(database, TaleQuery, q="fox")
    assert await in_turn(query, lambda: Reads().read("unknown")) == "unknown"
    query.served = served(9)
    for _ in range(2):
        assert await in_turn(query, lambda: Reads().read("found")) == "found"
    assert [turns.slots.limit for turns in slow_reads._turns.values()] == [limit]


async def test_requests_that_share_a_slow_read_are_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_reads, "_turns", {})
    query = asked(cast("Any", SimpleNamespace(is_sqlite=True)), TaleQuery, q="fox")
    query.served, plain = served(2), asked(cast("Any", None), TaleQuery)
    with counted(query), counted(plain):
        (turns,) = slow_reads._turns.values()
        assert turns.has_others(query.served)
        with counted(query):
            assert not turns.has_others(query.served)
    assert turns.requests == 0
