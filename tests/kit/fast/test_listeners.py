"""Listeners: every listener to an event of SQLAlchemy is called, as without shortcuts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.orm import Mapper, Session, SessionEvents, sessionmaker
from sqlmodel import SQLModel

from kit.database.databases import Database
from kit.fast.listeners import Listeners
from kit.models.entities import Entity
from tests.kit.fast.notes import FastLabel, FastNote, note, store

READS = ["do_orm_execute", "after_begin", "loaded_as_persistent", "before_cursor_execute", "after_execute", "load"]
WRITES = ["before_flush", "after_flush", "before_commit", "after_commit", "pending_to_persistent", "before_insert",
          "after_insert", "begin", "commit", "after_cursor_execute"]  # fmt: skip


@contextmanager
def listening(target: Any, name: str, **options: Any) -> Iterator[list[str]]:
    """Provide the calls of a listener to this event during the block."""
    heard: list[str] = []

    def hear(*_: object, **__: object) -> None:
        heard.append(name)

    event.listen(target, name, hear, **options)
    try:
        yield heard
    finally:
        event.remove(target, name, hear)


def target_of(name: str) -> Any:
    if name in ("load", "before_insert", "after_insert"):
        return FastNote
    return Session if hasattr(SessionEvents, name) else Engine


@pytest.mark.parametrize("name", READS)
async def test_a_listener_is_called_for_a_read(database: Database, direct_sql: list[str], name: str) -> None:
    await store(database, row := note("a"))
    direct_sql.clear()
    with listening(target_of(name), name) as heard:
        async with database.read() as session:
            assert await session.get(FastNote, row.id)
    assert (heard, direct_sql) == ([name], [])
    async with database.read() as session:
        assert await session.get(FastNote, row.id)
    assert (heard, len(direct_sql)) == ([name], 1)


@pytest.mark.parametrize("name", WRITES)
async def test_a_listener_is_called_for_an_insert(database: Database, direct_sql: list[str], name: str) -> None:
    with listening(target_of(name), name) as heard:
        await store(database, note("a"))
    assert heard
    assert (set(heard), direct_sql) == ({name}, [])
    await store(database, note("b"))
    assert len(direct_sql) == 1


@pytest.mark.parametrize("base", [Entity, SQLModel])
async def test_a_listener_to_a_base_is_called_for_all_entities(database: Database, base: type) -> None:
    with (
        listening(base, "before_insert", propagate=True) as inserted,
        listening(base, "load", propagate=True) as loaded,
    ):
        await store(database, row := note("a"), FastLabel(text="b"))
        async with database.read() as session:
            await session.get(FastNote, row.id)
    assert (len(inserted), len(loaded)) == (2, 1)


async def test_a_listener_to_all_mappers_is_called(database: Database) -> None:
    with listening(Mapper, "after_insert") as heard:
        await store(database, note("a"))
    assert heard == ["after_insert"]


async def test_a_listener_to_one_session_is_called(database: Database, direct_sql: list[str]) -> None:
    async with database.write() as session:
        with listening(session.sync_session, "after_flush") as heard:
            session.add(note("a"))
            await session.prepare_commit()
            await session.commit()
    assert (heard, direct_sql) == (["after_flush"], [])


async def test_a_listener_to_flushes_does_not_concern_reads(database: Database, direct_sql: list[str]) -> None:
    await store(database, row := note("a"))
    direct_sql.clear()
    with listening(Session, "after_flush") as heard:
        async with database.read() as session:
            assert await session.get(FastNote, row.id)
    assert (heard, len(direct_sql)) == ([], 1)


async def test_a_listener_to_one_engine_is_called(
    database: Database, unshared: Database, direct_sql: list[str]
) -> None:
    with listening(database.writer.sync_engine, "commit") as heard:
        await store(database, note("a"))
        assert (heard, direct_sql) == (["commit"], [])
        await store(unshared, note("b"))
    assert (heard, len(direct_sql)) == (["commit"], 1)


async def test_listeners_to_connections_and_errors_are_called(database: Database, direct_sql: list[str]) -> None:
    with listening(Connection, "begin") as heard:
        await store(database, note("a"))
    assert (heard, direct_sql) == (["begin"], [])
    with listening(database.writer.sync_engine, "handle_error") as heard, pytest.raises(Exception, match=r"(?i)unique"):
        await store(database, note("a"))
    assert (heard, direct_sql) == (["handle_error"], [])


async def test_a_listener_to_all_dialects_is_called(database: Database, direct_sql: list[str]) -> None:
    for target in (Engine, Dialect, type(database.writer.dialect)):
        with listening(target, "do_execute") as heard:
            await store(database, note(str(target)))
        assert set(heard) == {"do_execute"}
    assert direct_sql == []


async def test_the_log_of_statements_is_complete(
    database: Database, direct_sql: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        await store(database, row := note("a"))
        async with database.read() as session:
            await session.get(FastNote, row.id)
    assert "INSERT INTO fast_note" in caplog.text
    assert "FROM fast_note" in caplog.text
    assert direct_sql == []


async def test_listeners_of_the_kit_do_not_count(database: Database) -> None:
    for engine, session in ((database.reader, database.read()), (database.writer, database.write())):
        listeners = Listeners(engine.sync_engine)
        assert not listeners.listen_to_read(session.sync_session, FastNote)
        assert not listeners.listen_to_insert(session.sync_session, FastNote)
        assert not listeners.listen_to_session(session.sync_session)


async def test_a_sessionmaker_may_have_listeners_of_its_own(database: Database) -> None:
    listeners = Listeners(database.writer.sync_engine)
    make = sessionmaker(database.writer.sync_engine, class_=type(database.write().sync_session))
    assert not listeners.listen_to_insert(make(), FastNote)
    with listening(make, "after_commit"):
        assert listeners.listen_to_insert(make(), FastNote)
        assert not listeners.listen_to_insert(database.write().sync_session, FastNote)
