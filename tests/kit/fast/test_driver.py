"""Driver access: connections are alive and are returned to the pool, and its exceptions equal those of SQLAlchemy."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select, Text, TypeDecorator, literal, select, text, type_coerce
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException, OperationalError, ProgrammingError
from sqlalchemy.util import greenlet_spawn

from kit.database.databases import Database
from kit.database.errors import FAILURES, meaning_of, with_origin
from kit.fast import driver
from kit.fast.databases import use_fast_sessions
from kit.fast.selects import fetch
from kit.http.events import COUNTS
from tests.kit.fast.notes import TABLES, FastAside, FastLabel, FastNote, FastReply, note, store

pytestmark = pytest.mark.each_engine

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")


class Shouted(TypeDecorator[str]):
    """A type whose statements SQLAlchemy cannot cache."""

    impl = Text
    cache_ok = False


async def test_values_equal_those_that_sqlalchemy_reads(database: Database) -> None:
    await store(database, row := note('é\u2028"\\', stars=None), FastLabel(text="x"), FastReply(text="y"))
    await store(database, FastAside(text="z", note_id=row.id))
    async with database.reader.connect() as connection:
        for table in TABLES:
            through: Any = (await connection.execute(Select(table))).all()
            direct = await fetch(database.reader, Select(table))
            assert len(direct) == 1
            assert [tuple(row) for row in direct] == [tuple(row) for row in through]
            assert [list(map(type, row)) for row in direct] == [list(map(type, row)) for row in through]


async def test_a_statement_without_a_cache_key_is_executed(database: Database) -> None:
    assert await fetch(database.reader, select(type_coerce(literal("HERE"), Shouted()))) == [("HERE",)]


@pytest.mark.parametrize("texts", [["a"], ["a", "b", "c"]])
async def test_a_list_of_values_in_a_statement_may_grow(database: Database, texts: list[str]) -> None:
    await store(database, note("a"))
    table = next(table for table in TABLES if table.name == "fast_note")
    found = await fetch(database.reader, select(table.c.text).where(table.c.text.in_(texts)))
    assert [tuple(row) for row in found] == [("a",)]


async def test_a_failing_read_returns_its_connection(database: Database) -> None:
    pool: Any = database.reader.sync_engine.pool
    for _ in range(3):
        with pytest.raises((OperationalError, ProgrammingError), match="no_such_table"):
            await fetch(database.reader, select(text("1")).select_from(text("no_such_table")))
        assert pool.checkedout() == 0
    assert await fetch(database.reader, select(literal(1))) == [(1,)]


@on_postgresql
async def test_a_closed_connection_is_not_used(database: Database) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with database.reader.connect() as living:
        async with database.reader.connect() as dying:
            driver: Any = (await dying.get_raw_connection()).driver_connection
        await living.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"))
        while not driver.is_closed():
            await living.execute(text("SELECT pg_sleep(0.01)"))
        assert await fetch(database.reader, select(literal(1))) == [(1,)]


@on_postgresql
async def test_a_connection_that_ends_during_a_statement_is_lost(database: Database) -> None:
    with pytest.raises(FAILURES) as caught:
        await fetch(database.reader, select(text("pg_terminate_backend(pg_backend_pid())")))
    assert meaning_of(caught.value) == "lost"
    assert await fetch(database.reader, select(literal(1))) == [(1,)]


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        EmulatedDBAPIException("the database system is shutting down"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_exceptions_of_a_dead_connection_mean_a_lost_connection(failure: Exception) -> None:
    named = with_origin(failure) or failure
    assert isinstance(named, FAILURES)
    assert meaning_of(named) == "lost"


async def test_a_database_that_cannot_be_opened_fails_as_in_sqlalchemy(database: Database) -> None:
    there = database.url
    nowhere = there.set(database="/no/such/folder/a.db" if database.is_sqlite else "no_such_database")
    plain, fast = Database(nowhere), Database(nowhere)
    use_fast_sessions(fast, coalesce=False, group=False, without=frozenset())
    failures = []
    for one in (plain, fast):
        async with one.read() as session:
            with pytest.raises(DBAPIError) as caught:
                await session.get(FastNote, 1)
        failures.append((type(caught.value), type(caught.value.orig), str(caught.value.orig), caught.value.statement))
        await one.dispose()
    assert failures[0] == failures[1]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Any]:
    """Provide a connection of the writer."""
    connection = await greenlet_spawn(driver.connect, database.writer.sync_engine)
    yield connection
    await greenlet_spawn(connection.close)


COUNT = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"


@on_sqlite
async def test_a_cancelled_visit_leaves_out_the_next_statements(connection: Any) -> None:
    created = ("other", "CREATE TEMP TABLE reached (one)", ())
    visit = asyncio.create_task(driver.visit(connection, ("select", COUNT, ()), created))
    await asyncio.sleep(0.005)
    visit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visit
    there = "SELECT count(*) FROM temp.sqlite_master"
    assert await driver.visit(connection, ("select", there, ())) == [(0,)]


@on_sqlite
async def test_a_failure_is_recorded_for_the_statement_that_failed(connection: Any) -> None:
    before = [COUNTS["statements", kind] for kind in ("select", "insert", "delete")]
    steps = [("select", "SELECT 1", ()), ("insert", "INSERT INTO no_such_table DEFAULT VALUES", ()), ("delete", "", ())]
    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        await driver.visit(connection, *steps)
    after = [COUNTS["statements", kind] for kind in ("select", "insert", "delete")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 0]
