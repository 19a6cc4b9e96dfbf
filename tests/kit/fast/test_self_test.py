"""The self-test: a shortcut whose result differs from that of the code it replaces is disabled, with a log line."""

import sys
import time
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Mapper, Session

from kit import Database, allowing
from kit.fast import databases, install, installation, read_checks, write_checks
from kit.fast.databases import use_fast_sessions
from kit.fast.probes import ProbeDatabase
from kit.fast.read_sessions import FastReadSession
from kit.fast.read_shortcuts import ALL
from kit.fast.self_test import CHECKS, failing_shortcuts
from tests.kit.fast.notes import FastNote, note, store
from tests.kit.server.small import asking, small_service


def test_all_shortcuts_work_with_these_versions() -> None:
    assert failing_shortcuts() == frozenset()


def test_the_self_test_takes_little_time() -> None:
    failing_shortcuts()
    start = time.process_time()  # of this process, because others use the CPU too
    failing_shortcuts()
    assert time.process_time() - start < 0.5


def test_a_shortcut_that_fails_is_named_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    def check_something(_: ProbeDatabase) -> None:
        raise LookupError("it has gone")

    assert failing_shortcuts([*CHECKS, (check_something, frozenset({"pages"}))]) == {"pages"}
    assert "pages" in caplog.text
    assert "check_something" in caplog.text
    assert "it has gone" in caplog.text


@pytest.mark.parametrize(
    ("module", "name", "shortcut"),
    [
        (read_checks, "add_loaded", "get"),
        (read_checks, "to_json", "pages"),
        (write_checks, "add_flushed", "single insert"),
        (write_checks, "are_alike", "bulk insert"),
    ],
)
def test_a_shortcut_that_differs_is_left_out(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, shortcut: str
) -> None:
    monkeypatch.setattr(module, name, lambda *_: None)
    assert shortcut in failing_shortcuts()


@pytest.mark.parametrize(
    ("target", "name", "kinds"),
    [
        (Session, "after_flush", ["inserts"]),
        (Mapper, "after_insert", ["inserts"]),
        (Engine, "commit", ["reads", "inserts"]),
    ],
)
def test_a_library_that_listens_to_all_is_named(
    target: Any, name: str, kinds: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def hear(*_: object) -> None: ...

    event.listen(target, name, hear)
    try:
        assert failing_shortcuts() == frozenset()
    finally:
        event.remove(target, name, hear)
    expected = [f"Shortcuts are not taken for {kind}, because {__name__} listens to all." for kind in kinds]
    assert [record.getMessage() for record in caplog.records] == expected


async def test_a_database_may_do_without_some_shortcuts(plain: Database, direct_sql: list[str]) -> None:
    without = frozenset({"get", "single insert", "bulk insert", "pages"})
    use_fast_sessions(plain, coalesce=True, group=True, without=without)
    await store(plain, row := note("a"))
    async with plain.write() as session:
        await session.insert_all([note("b"), note("c")])
        await session.commit()
    async with plain.read() as session_:
        assert await session_.get(FastNote, row.id)
    assert direct_sql == []


async def test_the_service_starts_without_shortcuts_if_a_library_has_lost_an_interface(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter(route_class=allowing())

    @router.get("/ping")
    async def ping() -> str:
        return "pong"

    service = small_service(router, auth=False)
    monkeypatch.setitem(sys.modules, "kit.fast.installation", None)  # makes its import fail
    install(service)
    assert "Shortcuts left out: import of kit.fast.installation halted" in caplog.text
    async with asking(service) as client:
        assert (await client.get("/ping")).json() == "pong"


async def test_the_shortcuts_are_tested_once_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    tested: list[bool] = []

    def no_failing_shortcuts() -> frozenset[str]:
        tested.append(True)
        return frozenset()

    monkeypatch.setattr(installation, "failing_shortcuts", no_failing_shortcuts)
    monkeypatch.setattr(installation, "is_tested", lambda: False)
    service = small_service(APIRouter(route_class=allowing()), auth=False)
    install(service)
    assert tested == []
    async with asking(service) as client:
        await client.get("/health/live")
        await client.get("/health/live")
    assert tested == [True]


async def test_connections_are_plain_if_the_self_test_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "failing_shortcuts", lambda: ALL)
    service = small_service(APIRouter(route_class=allowing()), auth=False)
    install(service)
    service.check_routes()
    assert service.shutdown.protocol is None


def test_all_shortcuts_are_left_out_if_the_self_test_has_lost_an_interface(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "kit.fast.self_test", None)
    assert databases.failing_shortcuts.__wrapped__() == ALL
    assert "Shortcuts left out: import of kit.fast.self_test halted" in caplog.text


async def test_shortcuts_that_are_left_out_later_are_not_taken_on_any_engine(
    plain: Database, direct_sql: list[str]
) -> None:
    leave_out = use_fast_sessions(plain, coalesce=True, group=True)
    await store(plain, row := note("a"))
    async with plain.read() as session:
        assert isinstance(session, FastReadSession)
        other = session.shortcuts.on(create_async_engine("sqlite+aiosqlite://"))
    assert other.has_get
    leave_out(ALL)
    assert not other.has_get
    direct_sql.clear()
    async with plain.read() as session:
        assert await session.get(FastNote, row.id)
    assert direct_sql == []


async def test_a_service_that_is_not_started_leaves_another_its_shortcuts(database: Database) -> None:
    databases.failing_shortcuts()  # as the other service does at its start
    install(small_service(APIRouter(route_class=allowing()), auth=False, database=database))
    async with database.read() as session:
        assert isinstance(session, FastReadSession)
        assert session.shortcuts.has_get
