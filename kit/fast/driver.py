"""The driver: statements past SQLAlchemy, on a connection of its pool, and the conversion of their values.

A failure is raised exactly as SQLAlchemy would raise it, and the connection is invalidated where SQLAlchemy would
invalidate it: SQLAlchemy's own code does both.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn

import aiosqlite
from sqlalchemy import Connection, Float, util
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

Rows = Sequence[Sequence[Any]]
Processor = Callable[[Any], Any]
NUMERIC, FLOAT8 = 1700, 701
"""The OIDs by which SQLAlchemy's dialects for PostgreSQL choose how numbers are converted."""


def connect(engine: Engine) -> PoolProxiedConnection:
    """A connection from the pool, but none that is known to have ended. Runs in a greenlet."""
    while True:
        connection = _check_out(engine)
        driver: Any = connection.driver_connection
        if engine.dialect.name != "postgresql" or not driver.is_closed():
            return connection
        connection.invalidate()
        connection.close()


def _check_out(engine: Engine) -> PoolProxiedConnection:
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as failure:
        Connection._handle_dbapi_exception_noconnection(failure, engine.dialect, engine)


def read(engine: Engine, sql: str, arguments: Sequence[Any]) -> Rows:
    """The rows of a SELECT outside of any transaction. Runs in a greenlet."""
    connection = connect(engine)
    try:
        return read_on(connection, sql, arguments)
    except BaseException as failure:
        raise_as_sqlalchemy(failure, engine, connection, sql, arguments)
    finally:
        connection.close()


def read_on(connection: PoolProxiedConnection, sql: str, arguments: Sequence[Any]) -> Rows:
    driver: Any = connection.driver_connection
    if not isinstance(driver, aiosqlite.Connection):
        rows: Rows = util.await_only(driver.fetch(sql, *arguments))
        return rows
    info = connection.info
    info["until"] = time.monotonic() + info["seconds"]  # the statement timeout of SQLite
    return list(util.await_only(driver.execute_fetchall(sql, arguments)))


async def insert(
    connection: PoolProxiedConnection, sql: str, rows: Sequence[Sequence[Any]], lock_timeout: float | None
) -> Rows:
    """Begin a transaction with an INSERT of these rows. Returns the rows that it returns.

    `lock_timeout` is how many seconds it may wait for a lock on PostgreSQL; None for the default.
    """
    driver: Any = connection.driver_connection
    if isinstance(driver, aiosqlite.Connection):
        info = connection.info
        info["until"] = time.monotonic() + info["seconds"]
        await control(connection, "BEGIN IMMEDIATE")
        return [returned for row in rows for returned in await driver.execute_fetchall(sql, row)]
    begin = "BEGIN" if lock_timeout is None else f"BEGIN; SET LOCAL lock_timeout = {lock_timeout * 1000:.0f}"
    await control(connection, begin)
    found: Rows = await (driver.fetchmany(sql, rows) if len(rows) > 1 else driver.fetch(sql, *rows[0]))
    return found


async def control(connection: PoolProxiedConnection, command: str) -> None:
    """Begin or end a transaction. SQLAlchemy's adapters would, in twice the time."""
    driver: Any = connection.driver_connection
    await (driver.execute_fetchall if isinstance(driver, aiosqlite.Connection) else driver.execute)(command)


def roll_back(connection: PoolProxiedConnection) -> None:
    """Roll back, if a transaction is open. Runs in a greenlet."""
    driver: Any = connection.driver_connection
    if not isinstance(driver, aiosqlite.Connection) or driver.in_transaction:
        util.await_only(control(connection, "ROLLBACK"))


def raise_as_sqlalchemy(
    failure: BaseException, engine: Engine, connection: PoolProxiedConnection, sql: str | None, arguments: Sequence[Any]
) -> NoReturn:
    """Raise a failure of the driver as SQLAlchemy does, which also decides what becomes of the connection.

    Runs in a greenlet.
    """
    failure = _translated(failure, connection)
    is_of_database = isinstance(failure, engine.dialect.loaded_dbapi.Error)
    shell: Any = Connection(engine, connection, _has_events=False)
    try:
        raise failure  # noqa: TRY301  SQLAlchemy wants it to be the current exception
    except BaseException:
        shell._handle_dbapi_exception(failure, sql if is_of_database else None, tuple(arguments), None, None)
        raise AssertionError from failure  # SQLAlchemy has raised it


def _translated(failure: BaseException, connection: PoolProxiedConnection) -> BaseException:
    """The driver's exception as SQLAlchemy's adapter has it."""
    adapter: Any = connection.dbapi_connection
    if not isinstance(failure, Exception) or adapter is None:
        return failure
    try:
        adapter._handle_exception(failure)
    except Exception as translated:
        failure = translated
    return failure


def bind_processors(compiled: SQLCompiler, dialect: Dialect) -> list[tuple[str, Processor | None]]:
    """The parameters of a statement in the order of its text, each with its bind processor."""
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
    }
    return [(name, processors[name]) for name in compiled.positiontup or ()]


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Converts what the driver gives to the value in Python."""
    if isinstance(kind, UTCDateTime):
        return None if dialect.name == "postgresql" else in_utc  # asyncpg gives times in UTC
    impl = kind.dialect_impl(dialect)
    return impl.result_processor(dialect, FLOAT8 if isinstance(getattr(impl, "impl", impl), Float) else NUMERIC)


def in_utc(text: str | None) -> datetime | None:
    """A time as SQLite has it, in Python."""
    return None if text is None else datetime.fromisoformat(text + "+00:00")


def converted(rows: Rows, processors: Iterable[tuple[int, Processor]]) -> Rows:
    """The rows with the values of these columns converted."""
    columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
    for index, process in processors:
        columns[index] = map(process, columns[index])
    return list(zip(*columns, strict=True))
