"""Reads that ask together: who joins whom, and that nobody is told what was true before they asked."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from heroes.team import Team
from kit.database.databases import Database
from kit.database.reading import ReadSession
from kit.fast import coalescing as coalesce
from kit.fast.coalescing import MOST, Coalescer
from tests.conftest import Client
from tests.probe import PATIENCE, until
from tests.shop import made, read


class Source:
    """Answers a query with the number of queries so far, as soon as it may."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.may_answer = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, items: Collection[Any]) -> int:
        self.asked.append(list(items))
        number = len(self.asked)
        await self.may_answer.wait()
        if self.failure:
            raise self.failure
        return number


@pytest.fixture
def source() -> Source:
    return Source()


async def asking(coalescer: Coalescer, source: Source, *items: Any) -> list[asyncio.Task[int]]:
    """Tasks that have asked for these items."""
    tasks = [asyncio.create_task(coalescer.ask("key", item, source)) for item in items]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_who_asks_at_the_same_time_is_answered_by_one_query(source: Source) -> None:
    tasks = await asking(Coalescer(), source, 1, 2, 3, 2)
    source.may_answer.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1, 1]
    assert source.asked == [[1, 2, 3]]


async def test_nobody_joins_a_query_that_has_started(source: Source) -> None:
    coalescer = Coalescer()
    first = await asking(coalescer, source, 1)
    assert source.asked == [[1]]
    later = await asking(coalescer, source, 1, 2)
    source.may_answer.set()
    assert [await task for task in (*first, *later)] == [1, 2, 2]
    assert source.asked == [[1], [1, 2]]


async def test_another_key_is_another_query(source: Source) -> None:
    coalescer = Coalescer()
    source.may_answer.set()
    answers = await asyncio.gather(coalescer.ask("one", 1, source), coalescer.ask("another", 1, source))
    assert list(answers) == [1, 2]


async def test_a_query_answers_a_bounded_number(source: Source) -> None:
    tasks = await asking(Coalescer(), source, *range(MOST + 1))
    source.may_answer.set()
    await asyncio.gather(*tasks)
    assert [len(items) for items in source.asked] == [MOST, 1]


async def test_who_is_cancelled_harms_no_other(source: Source) -> None:
    gone, other, third = await asking(Coalescer(), source, 1, 2, 3)
    gone.cancel()
    source.may_answer.set()
    assert [await other, await third] == [1, 1]
    assert gone.cancelled()


async def test_if_all_have_left_the_next_is_served_all_the_same(source: Source) -> None:
    coalescer = Coalescer()
    source.failure = OSError("no database")
    (gone,) = await asking(coalescer, source, 1)
    gone.cancel()
    source.may_answer.set()
    await until(lambda: not coalescer.under_way)
    source.failure = None
    assert await coalescer.ask("key", 1, source) == 2


async def test_a_failure_reaches_all_who_asked_and_nobody_after_them(source: Source) -> None:
    coalescer = Coalescer()
    source.failure = OSError("no database")
    tasks = await asking(coalescer, source, 1, 2, 3)
    source.may_answer.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [source.failure] * 3
    source.failure = None
    assert await coalescer.ask("key", 1, source) == 2
    assert not coalescer.collecting
    assert not coalescer.under_way


async def test_who_is_cut_off_by_the_end_takes_the_others_along(source: Source) -> None:
    coalescer = Coalescer()
    tasks = await asking(coalescer, source, 1, 2)
    flight = coalescer.under_way["key"].task
    assert flight
    flight.cancel()
    await asyncio.wait(tasks, timeout=PATIENCE)
    assert all(task.cancelled() for task in tasks)


async def test_a_slow_query_does_not_hold_up_the_next(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalesce, "PATIENCE", 0.01)
    coalescer = Coalescer()
    slow = await asking(coalescer, source, 1)
    later = await asking(coalescer, source, 2)
    await until(lambda: len(source.asked) == 2)
    assert not slow[0].done()
    source.may_answer.set()
    assert [await task for task in (*slow, *later)] == [1, 2]
    assert not coalescer.under_way


async def test_readers_at_the_same_time_get_each_their_own(client: Client, database: Database) -> None:
    teams = [await made(client, "/teams/", name=f"Team {n}", headquarters="X") for n in range(20)]
    async with database.read() as session:
        got = await asyncio.gather(*(session.get(Team, team["id"]) for team in teams), session.get(Team, 777))
    assert [team and team.name for team in got] == [*(team["name"] for team in teams), None]


async def test_a_list_is_read_once_for_all_who_ask_for_it_at_the_same_time(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = []
    alone = ReadSession.alone

    async def counted(session: ReadSession, work: Any) -> Any:
        works.append(work)
        return await alone(session, work)

    monkeypatch.setattr(ReadSession, "alone", counted)
    lists = await asyncio.gather(*(read(client, "/teams/") for _ in range(20)), read(client, "/teams/", limit=5))
    assert len(works) < len(lists)
    assert lists == [[]] * 21


async def test_switched_off_everybody_asks_alone(client: Client, database: Database) -> None:
    team = await made(client, "/teams/", name="Z-Force", headquarters="X")
    apart = Database(database.url, coalesce=False)
    async with apart.read() as session:
        got = await session.get(Team, team["id"])
        assert await session.once("key", lambda same: asyncio.sleep(0, same is session))
    assert got
    assert got.name == "Z-Force"
    await apart.dispose()
