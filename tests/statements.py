"""Statements: records the SQL that is sent to a database, through SQLAlchemy or directly to the driver.

It uses no event listeners of SQLAlchemy, because the fast path does not serve an engine that has listeners.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import aiosqlite
import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

THROUGH_SQLALCHEMY = ("do_execute", "do_executemany", "do_execute_no_params")
DIRECT = ((aiosqlite.Connection, "execute_fetchall"), (asyncpg.Connection, "fetch"), (asyncpg.Connection, "fetchmany"))
Note = Callable[[Any, str], None]


@contextmanager
def noting(engine: AsyncEngine, note: Note) -> Iterator[None]:
    """Record each statement of this engine during the block, with the driver's connection that executes it."""
    checked_out: list[Any] = []
    dialect = engine.sync_engine.dialect
    raw_connection = engine.sync_engine.raw_connection

    def check_out() -> Any:
        connection = raw_connection()
        checked_out.append(connection.driver_connection)
        return connection

    with ExitStack() as stack:
        for name in THROUGH_SQLALCHEMY:
            stack.enter_context(patch.object(dialect, name, executing(getattr(dialect, name), note)))
        stack.enter_context(patch.object(engine.sync_engine, "raw_connection", check_out))
        for kind, name in DIRECT:
            stack.enter_context(patch.object(kind, name, sending(getattr(kind, name), checked_out, note)))
        if inserts := sys.modules.get("kit.fast.multi_row_inserts"):
            stack.enter_context(patch.object(inserts, "execute_many", noting_all(inserts.execute_many, note)))
        yield


def executing(execute: Callable[..., None], note: Note) -> Callable[..., None]:
    def noted(cursor: Any, statement: str, *others: Any) -> None:
        note(others[-1].root_connection.connection.driver_connection, statement)
        execute(cursor, statement, *others)

    return noted


def sending(send: Callable[..., Any], connections: list[Any], note: Note) -> Callable[..., Any]:
    def noted(connection: Any, statement: str, *arguments: Any, **options: Any) -> Any:
        if any(connection is known for known in connections):
            note(connection, statement)
        return send(connection, statement, *arguments, **options)

    return noted


def noting_all(send: Callable[..., Any], note: Note) -> Callable[..., Any]:
    def noted(connection: Any, statement: str, *arguments: Any) -> Any:
        note(connection, statement)
        return send(connection, statement, *arguments)

    return noted


@contextmanager
def statements_of(engine: AsyncEngine) -> Iterator[list[str]]:
    """Provide the SQL that this engine executes during the block."""
    seen: list[str] = []
    with noting(engine, lambda _, statement: seen.append(statement)):
        yield seen
