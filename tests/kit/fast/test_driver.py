"""Driver access: connections are alive and are returned to the pool, and its exceptions equal those of SQLAlchemy."""

import sqlite3
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select, Text, TypeDecorator, literal, select, text, type_coerce
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException, OperationalError, ProgrammingError

from kit.database.databases import Database
from kit.database.errors import FAILURES, meaning_of, with_origin
from kit.fast.databases import use_fast_sessions
from kit.fast.selects import fetch
from tests.kit.fast.notes import TABLES, FastAside, FastLabel, FastNote, FastReply, note, store

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")


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
