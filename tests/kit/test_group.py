"""Rows that come at the same time, each alone in its request: stored together, and none worse off than by itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel import col, select

from heroes.team import Team
from kit.database.databases import Database
from kit.fast import batches as grouping
from kit.fast import group_commit as group
from kit.fast import single_insert as lone
from kit.operations import unit_of_work
from kit.operations.answers import answer
from tests.conftest import Client, on_postgresql
from tests.probe import PATIENCE, at_commit, having, until
from tests.shop import made, read

SOON = 0.3
"""Seconds."""


class Stage:
    """Lets one INSERT begin, and no other until `go` is called, so that those who come meanwhile are together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        self.database, self.opened = database, asyncio.Event()
        self.together: list[int] = []
        """How many rows each transaction was to store."""
        self.patience: list[float | None] = []
        """How many seconds each was to wait for a lock; None for as long as usual."""
        self.failures: list[Exception] = []
        self.execute = lone.execute
        monkeypatch.setattr(lone, "execute", self.store)
        monkeypatch.setattr(grouping, "PATIENCE", PATIENCE)
        self.grouping.apart_until.clear()  # of the test before

    async def store(self, connection: PoolProxiedConnection, sql: str, rows: Sequence[Any], patience: Any) -> Any:
        self.together.append(len(rows))
        self.patience.append(patience)
        await self.opened.wait()
        if len(rows) > 1 and self.failures:
            raise self.failures.pop()
        return await self.execute(connection, sql, rows, patience)

    async def enter(self, *calls: Any) -> list[asyncio.Task[httpx.Response]]:
        """These requests, of which the first is under way, and the others wait for it."""
        tasks = [asyncio.create_task(call) for call in calls]
        await until(lambda: self.waiting == len(calls) - 1)
        return tasks

    @property
    def waiting(self) -> int:
        return sum(len(one.members) for one in self.grouping.collecting.values())

    @property
    def grouping(self) -> grouping.Grouping:
        assert self.database.grouping
        return self.database.grouping

    async def go(self, tasks: Sequence[asyncio.Task[httpx.Response]]) -> list[int]:
        """The statuses of their answers."""
        self.opened.set()
        answers = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        await until(lambda: not any(self.grouping.under_way.values()))
        return [answer.status_code for answer in answers]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, database: Database) -> Stage:
    return Stage(monkeypatch, database)


def teams(client: Client, *names: str) -> list[Any]:
    return [client.post("/teams/", json={"name": name, "headquarters": "Bar"}) for name in names]


def heroes(client: Client, *team_ids: int | None) -> list[Any]:
    bodies = [{"name": f"Hero {n}", "secret_name": "x", "team_id": team} for n, team in enumerate(team_ids)]
    return [client.post("/heroes/", json=body) for body in bodies]


async def names(client: Client, path: str = "/teams/") -> list[str]:
    return sorted(thing["name"] for thing in await read(client, path))


def checked_out(database: Database) -> int:
    pool: Any = database.writer.pool
    return int(pool.checkedout())


async def test_rows_that_come_while_one_is_stored_are_stored_together(client: Client, stage: Stage) -> None:
    letters = "abcdefgh"
    tasks = await stage.enter(*teams(client, *letters))
    assert await stage.go(tasks) == [201] * 8
    assert stage.together == [1, 7]
    told = [task.result().json() for task in tasks]
    assert [(await read(client, f"/teams/{team['id']}")) for team in told] == told
    assert [team["name"] for team in told] == list(letters)


async def test_rows_that_have_their_ids_are_stored_together_too(client: Client, stage: Stage) -> None:
    calls = [client.post("/categories/", json={"name": name, "slug": name}) for name in "abc"]
    assert await stage.go(await stage.enter(*calls)) == [201] * 3
    assert stage.together == [1, 2]
    assert await names(client, "/categories/") == ["a", "b", "c"]


async def test_a_group_is_bounded_and_a_full_one_waits_for_nobody(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MOST", 3)
    tasks = [asyncio.create_task(call) for call in teams(client, *"abcdefgh")]
    await until(lambda: stage.waiting == 1)
    assert await stage.go(tasks) == [201] * 8
    assert sorted(stage.together) == [1, 1, 3, 3]


async def test_who_waited_long_enough_is_stored_beside_the_one_under_way(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "PATIENCE", 0.01)
    tasks = [asyncio.create_task(call) for call in teams(client, "a", "b")]
    await until(lambda: sum(stage.grouping.under_way.values()) == 2)
    assert await stage.go(tasks) == [201] * 2


async def test_a_row_that_cannot_be_stored_harms_no_other(client: Client, stage: Stage, database: Database) -> None:
    assert await stage.go(await stage.enter(*teams(client, "a", "b", "a", "c"))) == [201, 201, 409, 201]
    assert await names(client) == ["a", "b", "c"]
    assert checked_out(database) == 0
    stage.opened.clear()
    tasks = await stage.enter(*heroes(client, None, None, 77, None))
    assert await stage.go(tasks) == [201, 201, 409, 201]
    assert "team_id" in tasks[2].result().json()["detail"]
    assert await names(client, "/heroes/") == ["Hero 0", "Hero 1", "Hero 3"]


@pytest.mark.usefixtures("deferred")
async def test_a_row_for_which_the_commit_is_refused_harms_no_other(
    client: Client, stage: Stage, database: Database
) -> None:
    assert await stage.go(await stage.enter(*heroes(client, None, None, 77, None))) == [201, 201, 409, 201]
    assert await names(client, "/heroes/") == ["Hero 0", "Hero 1", "Hero 3"]
    assert checked_out(database) == 0
    assert stage.together[:2] == [1, 3]
    assert set(stage.together[2:]) == {1}
    assert any(stage.grouping.apart_until.values())


async def test_a_request_that_fails_after_its_row_was_stored_harms_no_other(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_b(request: Any, value: Any, *others: Any) -> Any:
        if getattr(value, "name", None) == "b":
            raise LookupError("no answer")
        return answer(request, value, *others)

    monkeypatch.setattr(unit_of_work, "answer", fail_for_b)
    tasks = await stage.enter(*teams(client, "a", "b", "c", "d"))
    assert await stage.go(tasks) == [201, 500, 201, 201]
    assert await names(client) == ["a", "c", "d"]


async def test_who_leaves_before_it_begins_is_left_out(client: Client, stage: Stage) -> None:
    first, *others = await stage.enter(*teams(client, "a", "b", "c"))
    others[0].cancel()
    await until(lambda: stage.waiting == 1)
    assert await stage.go([first, others[1]]) == [201, 201]
    assert await names(client) == ["a", "c"]


async def test_a_group_that_everybody_has_left_does_not_begin(client: Client, stage: Stage) -> None:
    first, other = await stage.enter(*teams(client, "a", "b"))
    other.cancel()
    await until(lambda: stage.waiting == 0)
    assert await stage.go([first]) == [201]
    assert stage.together == [1]


async def test_a_group_for_which_nobody_waits_any_more_is_given_up(
    app: FastAPI, client: Client, stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "PATIENCE", 0)
    with having(app, request_timeout=SOON):
        answers = await asyncio.gather(*teams(client, "a", "b", "c"))
    assert [answer.status_code for answer in answers] == [504] * 3
    await until(lambda: checked_out(database) == 0)
    assert not any(stage.grouping.under_way.values())
    assert await names(client) == []


@pytest.mark.parametrize("failure", [ConnectionResetError("cut"), OSError("away")])
async def test_a_connection_that_is_lost_before_the_commit_is_noticed_by_nobody(
    client: Client, stage: Stage, failure: Exception
) -> None:
    stage.failures.append(failure)
    assert await stage.go(await stage.enter(*teams(client, "a", "b", "c"))) == [201] * 3
    assert await names(client) == ["a", "b", "c"]


async def test_a_fault_of_our_own_is_everybodys(client: Client, stage: Stage) -> None:
    stage.failures.append(LookupError("no such table"))
    assert await stage.go(await stage.enter(*teams(client, "a", "b", "c"))) == [201, 500, 500]
    assert await names(client) == ["a"]


@on_postgresql
async def test_who_waits_for_a_lock_waits_alone(client: Client, stage: Stage, database: Database) -> None:
    stage.opened.set()
    team = await made(client, "/teams/", name="Z-Force", headquarters="Bar")
    stage.opened.clear()
    async with database.write() as session:
        await session.exec(select(Team).where(col(Team.id) == team["id"]).with_for_update())
        tasks = await stage.enter(*heroes(client, None, None, team["id"], None))
        stage.opened.set()
        await until(lambda: [task.done() for task in tasks] == [True, True, False, True])
    assert await stage.go(tasks) == [201] * 4
    assert stage.patience[1:] == [None, group.PATIENCE, *[None] * 3]


@on_postgresql
@pytest.mark.usefixtures("dying")
async def test_of_a_commit_that_broke_off_all_are_told_that_nobody_knows(client: Client, stage: Stage) -> None:
    tasks = await stage.enter(*heroes(client, None, None, None))
    assert await stage.go(tasks) == [503] * 3
    assert {task.result().json()["outcome"] for task in tasks} == {"unknown"}


@on_postgresql
async def test_a_commit_that_does_not_end_is_given_up_for_all(
    client: Client, stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "COMMIT_TIMEOUT", SOON)
    monkeypatch.setattr(unit_of_work, "COMMIT_TIMEOUT", SOON)
    async with at_commit(database, f"pg_sleep({PATIENCE})"):
        tasks = await stage.enter(*heroes(client, None, None, None))
        assert await stage.go(tasks) == [503] * 3
        await until(lambda: checked_out(database) == 0)
    assert {task.result().json()["outcome"] for task in tasks} == {"unknown"}


async def test_a_team_may_do_without(app: FastAPI, client: Client, stage: Stage, database: Database) -> None:
    stage.opened.set()
    without = Database(database.url, group=False)
    with having(app, database=without):
        answers = await asyncio.gather(*teams(client, *"abcd"))
    await without.dispose()
    assert [answer.status_code for answer in answers] == [201] * 4
    assert stage.together == [1] * 4
