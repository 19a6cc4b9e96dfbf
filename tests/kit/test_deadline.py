"""How long a request may take: until its deadline, a read only while its caller is there, and a COMMIT in peace."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import make_url
from sqlmodel import select, text
from starlette.types import Message

from heroes.team import Team
from kit.database.databases import Database
from kit.database.engines import Pool
from kit.database.writing import WriteSession
from kit.http.problems import Problem
from kit.operations import deadlines as deadline
from kit.operations import unit_of_work
from kit.operations.unit_of_work import ReadSession, Session, UnitOfWork
from tests.conftest import Client, on_postgresql, on_sqlite
from tests.probe import PATIENCE, at_commit, having, probing
from tests.shop import made, read

SOON, SHORT = 0.3, 1.0
"""Seconds: a deadline for what never ends, and one that everything else keeps."""
HERO = {"name": "Deadpond", "secret_name": "Dive Wilson"}
TEAM = {"name": "Z-Force", "headquarters": "Sharp Tower"}
BILLIONS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(i) FROM n"

router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)
entered, held, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()


@router.get("/held")
async def read_until_the_word(session: ReadSession) -> None:
    """Reads, and then keeps its connection until the test lets it go."""
    await session.exec(select(Team))
    await wait_for_the_word()


@router.post("/held")
async def write_until_the_word(session: Session) -> None:
    """Writes, and then keeps its transaction until the test lets it go."""
    session.add(Team.model_validate(TEAM))
    await session.flush()
    await wait_for_the_word()


async def wait_for_the_word() -> None:
    entered.set()
    try:
        await held.wait()
    finally:
        ended.set()


@router.post("/billions")
async def count_to_a_billion(session: Session) -> None:
    session.add(Team.model_validate(TEAM))
    await session.flush()
    await session.exec(text(BILLIONS))  # type: ignore[call-overload]  # SQLModel's has no text


@router.get("/billions")
async def look_at_a_billion(session: ReadSession) -> None:
    await session.rows(text(BILLIONS))


@pytest.fixture
async def probed(app: FastAPI, database: Database) -> AsyncIterator[Client]:
    for happened in (entered, held, ended):
        happened.clear()
    async with probing(app, router) as client:
        await read(client, "/teams/")  # connected, before time is short
        yield client
    assert checked_out(database) == 0


def checked_out(database: Database) -> int:
    """How many connections are in use."""
    pools: list[Any] = [database.writer.pool, database.reader.pool]
    return sum(pool.checkedout() for pool in pools)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_past_the_deadline_the_answer_is_a_504_and_nothing_is_kept(
    app: FastAPI, probed: Client, database: Database, method: str
) -> None:
    with having(app, request_timeout=SOON):
        answer = await asyncio.wait_for(probed.request(method, "/probes/held"), PATIENCE)
    assert answer.status_code == 504
    assert answer.json()["type"] == "urn:problem:timeout"
    assert ended.is_set()
    assert checked_out(database) == 0
    assert await read(probed, "/teams/") == []
    await made(probed, "/teams/", **TEAM)


async def test_a_body_that_does_not_arrive_in_time_is_a_504(app: FastAPI, probed: Client) -> None:
    caller = Caller(body=b"{", more=True)
    with having(app, request_timeout=SOON):
        assert await caller.calls(app, "POST", "/teams/") == 504


async def test_one_deadline_is_for_all_tries_together(app: FastAPI, probed: Client) -> None:
    away = Database(make_url("postgresql+asyncpg://nobody@127.0.0.1:1/nothing"))
    with having(app, request_timeout=SOON, database=away):
        assert (await probed.get("/teams/")).status_code == 504  # before a read runs out of patience
    await away.dispose()


class Slow:
    """A COMMIT that takes so many seconds, or until it is cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        commit = WriteSession.commit

        async def slowly(session: WriteSession) -> None:
            await asyncio.sleep(seconds)
            await commit(session)

        monkeypatch.setattr(WriteSession, "commit", slowly)


async def test_the_deadline_does_not_cut_a_commit(
    app: FastAPI, probed: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(monkeypatch, SHORT * 1.1)
    with having(app, request_timeout=SHORT):
        assert (await probed.post("/teams/", json=TEAM)).status_code == 201
    assert len(await read(probed, "/teams/")) == 1


async def test_of_a_commit_that_takes_too_long_nobody_knows_the_outcome(
    probed: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "COMMIT_TIMEOUT", SOON)
    Slow(monkeypatch, PATIENCE)
    answer = await probed.post("/teams/", json=TEAM)
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
    assert answer.headers["Retry-After"] == "1"
    assert await read(probed, "/teams/") == []


@on_postgresql
async def test_a_commit_that_the_server_does_not_finish_is_given_up(
    probed: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "COMMIT_TIMEOUT", SOON)
    async with at_commit(database, f"pg_sleep({PATIENCE})"):
        answer = await probed.post("/heroes/", json=HERO)
        assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
        assert checked_out(database) == 0


class Caller:
    """Somebody who sends a request, and leaves when told to."""

    def __init__(self, body: bytes = b"", *, more: bool = False) -> None:
        self.leaves, self.is_heard_out, self.statuses = asyncio.Event(), asyncio.Event(), list[int]()
        self.sent: list[Message] = [{"type": "http.request", "body": body, "more_body": more}]

    async def receive(self) -> Message:
        if self.sent:
            return self.sent.pop(0)
        self.is_heard_out.set()
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.statuses += [message["status"]] if "status" in message else []

    async def calls(self, app: FastAPI, method: str, path: str) -> int:
        """The status of the answer."""
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"key-1")]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        await asyncio.wait_for(app(scope, self.receive, self.send), PATIENCE)
        return self.statuses[0]


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once whether the caller of a read is still there."""
    monkeypatch.setattr(deadline, "WATCH_AFTER", 0)


@pytest.mark.usefixtures("watchful")
async def test_a_read_whose_caller_has_left_ends(
    app: FastAPI, probed: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller()
    asking = asyncio.create_task(caller.calls(app, "GET", "/probes/held"))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    caller.leaves.set()
    assert await asking == 499
    assert ended.is_set()
    assert checked_out(database) == 0
    assert "GET /probes/held 499" in caplog.text


@pytest.mark.usefixtures("watchful")
async def test_a_read_whose_caller_stays_is_answered(app: FastAPI, probed: Client) -> None:
    caller = Caller(body=b"nobody looks at it", more=True)
    caller.sent *= 2
    asking = asyncio.create_task(caller.calls(app, "GET", "/probes/held"))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    await asyncio.wait_for(caller.is_heard_out.wait(), PATIENCE)
    held.set()
    assert await asking == 204


@pytest.mark.usefixtures("watchful")
async def test_a_write_whose_caller_has_left_is_carried_out(app: FastAPI, probed: Client) -> None:
    caller = Caller()
    asking = asyncio.create_task(caller.calls(app, "POST", "/probes/held"))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    caller.leaves.set()
    await asyncio.sleep(0.05)  # in which it might be noticed
    held.set()
    assert await asking == 204
    assert len(await read(probed, "/teams/")) == 1


@on_sqlite
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_statement_of_sqlite_that_takes_too_long_is_a_504(
    app: FastAPI, probed: Client, database: Database, method: str
) -> None:
    hasty = Database(database.url, Pool(statement_timeout=0.05))
    with having(app, database=hasty):
        assert (await probed.request(method, "/probes/billions")).status_code == 504
        assert checked_out(hasty) == 0
        assert len(await read(probed, "/teams/")) == 0
        await made(probed, "/teams/", **TEAM)
    await hasty.dispose()


@on_sqlite
async def test_a_statement_of_sqlite_that_is_broken_off_does_not_keep_the_file_locked(
    app: FastAPI, probed: Client
) -> None:
    with having(app, request_timeout=SOON):
        assert (await probed.post("/probes/billions")).status_code == 504
    await made(probed, "/teams/", **TEAM)


async def test_who_leaves_after_the_deadline_does_not_make_it_another_end() -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def be_late() -> None:
        moment = deadline.Deadline(0)
        async with moment:
            try:
                await asyncio.Event().wait()
            finally:
                await moment.wait_until_gone(leave)

    with pytest.raises(Problem) as end:
        await be_late()
    assert end.value.status_code == 504
