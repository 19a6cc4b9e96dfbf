"""How is a row stored that is all that a unit writes: by the driver, with an INSERT that was compiled once.

It is one transaction, as any unit is; what is left out is what the ORM does for many rows that depend on each other.
Who listens to the row's mapper gets the ORM; who listens to an engine's `begin` does not hear of this one.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import insert, inspect, util
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.attributes import instance_state, set_committed_value
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler

from kit.database.engines import READ_ONLY, start_clock
from kit.database.errors import OF_ASYNCPG, Undone
from kit.fast.instances import made_by
from kit.fast.processors import columns_of, writing
from kit.fast.rows import PLANS, Rows, connect
from kit.models.entities import Entity


class Insertion:
    """The INSERT of one row of a table, with its id or without; then it returns the id."""

    def __init__(self, entity: type[Entity], dialect: Dialect, *, has_id: bool) -> None:
        self.keys = {column.key: name for name, column in columns_of(entity).items() if has_id or name != "id"}
        statement = insert(inspect(entity).local_table)
        returning = statement if has_id else statement.returning(columns_of(entity)["id"])
        compiled = returning.compile(dialect=dialect, column_keys=list(self.keys))
        assert isinstance(compiled, SQLCompiler)
        self.sql, self.writing = str(compiled), writing(compiled, dialect)

    def arguments(self, row: Entity) -> tuple[Any, ...]:
        values = row.__dict__
        given = [(values[self.keys[key]], convert) for key, convert in self.writing]
        return tuple(value if convert is None else convert(value) for value, convert in given)


insertion_of = lru_cache(PLANS)(Insertion)


class Lone:
    """The transaction of a row that is inserted alone, or of such rows of a kind."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.connection: PoolProxiedConnection | None = None

    async def insert(self, *rows: Entity, patience: float | None = None) -> None:
        """Insert them, and give them their ids. Fails as a session does, or for a lock, after `patience` seconds."""
        entity = type(rows[0])
        insertion = insertion_of(entity, self.engine.dialect, has_id=rows[0].id is not None)
        arguments = [insertion.arguments(row) for row in rows]
        if self.engine.echo:
            self.engine.logger.info("%s %s", insertion.sql, arguments)
        self.connection = await util.greenlet_spawn(connect, self.engine)
        with wrapped(insertion.sql):
            ids = await execute(self.connection, insertion.sql, arguments, patience)
        for row, (ident,) in zip(rows, ids, strict=False):  # none if they have theirs
            set_committed_value(row, "id", ident)
        for row in rows:
            instance_state(row).key = made_by(entity).identify((row.id,))

    async def commit(self) -> None:
        assert self.connection is not None
        with wrapped("COMMIT"):
            await control(self.connection, "COMMIT")
        await util.greenlet_spawn(self.connection.close)
        self.connection = None

    async def leave(self, failure: BaseException | None) -> None:
        """What was not committed has not happened."""
        if self.connection is not None:
            await util.greenlet_spawn(self.abandon, self.connection, failure)

    def abandon(self, connection: PoolProxiedConnection, failure: BaseException | None) -> None:
        """Give the connection back, its transaction undone; but only if the database has answered as usual."""
        try:
            if isinstance(failure, IntegrityError | Undone):
                util.await_only(control(connection, "ROLLBACK"))
            else:
                connection.invalidate()
        except BaseException:
            connection.invalidate()
            raise
        finally:
            connection.close()
        if getattr(getattr(failure, "orig", None), "sqlstate", None) == READ_ONLY:
            self.engine.dispose()  # as all other connections lead to that server too


@contextmanager
def wrapped(sql: str) -> Iterator[None]:
    """A failure of the driver as SQLAlchemy has it, with the statement."""
    try:
        yield
    except (asyncpg.IntegrityConstraintViolationError, sqlite3.IntegrityError) as failure:
        raise IntegrityError(sql, None, failure, hide_parameters=True) from failure
    except (*OF_ASYNCPG, sqlite3.Error) as failure:
        raise DBAPIError(sql, None, failure, hide_parameters=True) from failure


async def execute(
    connection: PoolProxiedConnection, sql: str, arguments: Sequence[Sequence[Any]], patience: float | None
) -> Rows:
    """The rows that it returns for each of these arguments, as the first statement of a transaction."""
    driver: Any = connection.driver_connection
    if isinstance(driver, aiosqlite.Connection):
        start_clock(connection.info)
        await control(connection, "BEGIN IMMEDIATE")
        return [row for given in arguments for row in await driver.execute_fetchall(sql, given)]
    await control(connection, "BEGIN" if patience is None else f"BEGIN; SET LOCAL lock_timeout = {patience * 1000:.0f}")
    rows: Rows = await (driver.fetchmany(sql, arguments) if len(arguments) > 1 else driver.fetch(sql, *arguments[0]))
    return rows


async def control(connection: PoolProxiedConnection, word: str) -> None:
    """Begin or end a transaction. SQLAlchemy's adapters would, in twice the time."""
    driver: Any = connection.driver_connection
    await (driver.execute_fetchall if isinstance(driver, aiosqlite.Connection) else driver.execute)(word)
