"""Deadlines: of requests, of reads whose client disconnected, and of COMMITs, which have a timeout of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import make_url
from sqlmodel import select, text
from starlette.types import Message

from kit import Database, Problem, ReadSession, Service, Session, allowing
from kit.database.engines import Pool
from kit.database.sessions import WriteSession
from kit.operations import unit_of_work
from tests.engines import Client, on_postgresql, on_sqlite
from tests.kit.bookshop import Shelf
from tests.kit.probes import BOOK, SHELF, TIMEOUT_SECONDS, at_commit, new_shelf, read, with_attributes
from tests.kit.service import client_of, create_runtime, create_service

SOON = 0.3
"""A deadline for work that never ends, in seconds."""
LONGER_AND_LONGER = (SOON, 3.0, 30.0)
"""Deadlines until which other work is done, in seconds: the first of them, unless the machine is busy."""
BILLIONS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(i) FROM n"

router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing())
entered, held, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()


@router.get("/held", status_code=204)
async def read_until_released(session: ReadSession) -> None:
    """Read, and keep the connection until the test releases it."""
    await session.exec(select(Shelf))
    await wait_until_released()


@router.post("/held", status_code=204)
async def write_until_released(session: Session) -> None:
    """Write, and keep the transaction until the test releases it."""
    session.add(Shelf.model_validate(SHELF))
    await session.flush()
    await wait_until_released()


async def wait_until_released() -> None:
    entered.set()
    try:
        await held.wait()
    finally:
        ended.set()


@router.post("/billions")
async def count_to_a_billion(session: Session) -> None:
    session.add(Shelf.model_validate(SHELF))
    await session.flush()
    await session.exec(text(BILLIONS))  # type: ignore[call-overload]  # SQLModel's has no text


@router.get("/billions")
async def read_a_billion(session: ReadSession) -> None:
    await session.exec(text(BILLIONS))  # type: ignore[call-overload]  # SQLModel's has no text


@pytest.fixture
def service(database: Database) -> Service:
    """Provide the bookshop with these operations, without rows."""
    return create_service(create_runtime(database), router)


@pytest.fixture
async def probed(service: Service) -> AsyncIterator[Client]:
    for happened in (entered, held, ended):
        happened.clear()
    async with client_of(service) as client:
        await read(client, "/shelves/")  # connected, before time is short
        yield client
    assert checked_out(service.runtime.database) == 0


def checked_out(database: Database) -> int:
    """Return the number of connections in use."""
    pools: list[Any] = [database.writer.pool, database.reader.pool]
    return sum(pool.checkedout() for pool in pools)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_past_the_deadline_the_response_is_a_504_and_nothing_is_stored(
    service: Service, probed: Client, database: Database, method: str
) -> None:
    for seconds in LONGER_AND_LONGER:
        with with_attributes(service.runtime, request_timeout=seconds):
            answer = await asyncio.wait_for(probed.request(method, "/probes/held"), TIMEOUT_SECONDS)
        assert answer.status_code == 504
        if entered.is_set():
            break
    assert answer.json()["type"] == "urn:problem:timeout"
    assert ended.is_set()
    assert checked_out(database) == 0
    assert await read(probed, "/shelves/") == []
    await new_shelf(probed)


async def test_a_body_that_does_not_arrive_in_time_is_a_504(service: Service, probed: Client) -> None:
    caller = Caller(body=b"{", more=True)
    with with_attributes(service.runtime, request_timeout=SOON):
        assert await caller.calls(service, "POST", "/shelves/") == 504


async def test_all_attempts_share_one_deadline(service: Service, probed: Client) -> None:
    away = Database(make_url("postgresql+asyncpg://nobody@127.0.0.1:1/nothing"))
    with with_attributes(service.runtime, request_timeout=SOON, database=away):
        assert (await probed.get("/shelves/")).status_code == 504  # before the retries of a read end
    await away.dispose()


def slow_down(database: Database, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make a COMMIT take this time, unless it is cancelled."""
    kind = type(database.write())
    commit = kind.commit

    async def slowly(session: WriteSession) -> None:
        await asyncio.sleep(seconds)
        await commit(session)

    monkeypatch.setattr(kind, "commit", slowly)


async def test_the_deadline_does_not_interrupt_a_commit(
    service: Service, probed: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in LONGER_AND_LONGER:
        slow_down(database, monkeypatch, 1.1 * seconds)
        with with_attributes(service.runtime, request_timeout=seconds):
            status = (await probed.post("/shelves/", json=SHELF)).status_code
        monkeypatch.undo()
        if status == 201:
            break
    assert status == 201
    assert len(await read(probed, "/shelves/")) == 1


async def test_the_outcome_of_a_commit_that_takes_too_long_is_unknown(
    probed: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "COMMIT_TIMEOUT", SOON)
    slow_down(database, monkeypatch, TIMEOUT_SECONDS)
    answer = await probed.post("/shelves/", json=SHELF)
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
    assert answer.headers["Retry-After"] == "1"
    assert await read(probed, "/shelves/") == []


@on_postgresql
async def test_a_commit_that_the_server_does_not_finish_is_cancelled(
    probed: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "COMMIT_TIMEOUT", SOON)
    async with at_commit(database, "kit_book", f"pg_sleep({TIMEOUT_SECONDS})"):
        answer = await probed.post("/books/", json=BOOK)
        assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
        assert checked_out(database) == 0


class Caller:
    """A client that sends a request, and disconnects when the test says so."""

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

    async def calls(self, service: Service, method: str, path: str) -> int:
        """Return the status of the response."""
        headers = [(b"content-type", b"application/json"), (b"idempotency-key", b"key-1")]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        await asyncio.wait_for(service(scope, self.receive, self.send), TIMEOUT_SECONDS)
        return self.statuses[0]


@pytest.fixture
def polling_disconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kit check without delay whether the client of a read is still connected."""
    monkeypatch.setattr(unit_of_work, "WATCH_AFTER", 0)


@pytest.mark.usefixtures("polling_disconnects")
async def test_a_read_of_a_disconnected_client_ends(
    service: Service, probed: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller()
    asking = asyncio.create_task(caller.calls(service, "GET", "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    caller.leaves.set()
    assert await asking == 499
    assert ended.is_set()
    assert checked_out(database) == 0
    assert "GET /probes/held 499" in caplog.text


@pytest.mark.usefixtures("polling_disconnects")
async def test_a_read_of_a_connected_client_is_answered(service: Service, probed: Client) -> None:
    caller = Caller(body=b"nobody looks at it", more=True)
    caller.sent *= 2
    asking = asyncio.create_task(caller.calls(service, "GET", "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    await asyncio.wait_for(caller.is_heard_out.wait(), TIMEOUT_SECONDS)
    held.set()
    assert await asking == 204


@pytest.mark.usefixtures("polling_disconnects")
async def test_a_write_of_a_disconnected_client_is_executed_to_its_end(service: Service, probed: Client) -> None:
    caller = Caller()
    asking = asyncio.create_task(caller.calls(service, "POST", "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    caller.leaves.set()
    await asyncio.sleep(0.05)  # time in which a disconnect could be noticed
    held.set()
    assert await asking == 204
    assert len(await read(probed, "/shelves/")) == 1


@on_sqlite
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_statement_of_sqlite_that_takes_too_long_is_a_504(
    service: Service, probed: Client, database: Database, method: str
) -> None:
    hasty = Database(database.url, Pool(statement_timeout=0.05))
    with with_attributes(service.runtime, database=hasty):
        assert (await probed.request(method, "/probes/billions")).status_code == 504
        assert checked_out(hasty) == 0
        assert len(await read(probed, "/shelves/")) == 0
        await new_shelf(probed)
    await hasty.dispose()


@on_sqlite
async def test_a_cancelled_statement_of_sqlite_does_not_keep_the_file_locked(service: Service, probed: Client) -> None:
    with with_attributes(service.runtime, request_timeout=SOON):
        assert (await probed.post("/probes/billions")).status_code == 504
    await new_shelf(probed)


async def test_a_client_that_disconnects_after_the_deadline_still_gets_a_504() -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def finish_late() -> None:
        moment = unit_of_work.Deadline(0)
        with moment:
            try:
                await asyncio.Event().wait()
            finally:
                await moment.wait_for_disconnect(leave)

    with pytest.raises(Problem) as end:
        await finish_late()
    assert end.value.status_code == 504


async def test_shielded_work_may_exceed_the_deadline_and_later_work_has_the_remaining_time() -> None:
    async def work(deadline: unit_of_work.Deadline) -> None:
        deadline.suspend()
        await asyncio.sleep(0.2)
        deadline.resume()
        await asyncio.Event().wait()

    with pytest.raises(Problem) as end, unit_of_work.Deadline(0.1) as deadline:
        await work(deadline)
    assert end.value.status_code == 504


async def test_a_handler_that_ignores_its_cancellation_does_not_commit() -> None:
    async def go_on() -> None:
        with unit_of_work.Deadline(0) as deadline:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            deadline.suspend()

    with pytest.raises(Problem) as end:
        await go_on()
    assert end.value.status_code == 504
