"""The engine for migrations: one connection, whose transactions include DDL on SQLite too."""

import sqlite3
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from alembic.util import CommandError
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kit.database.errors import DRIVER_ERRORS, FAILURES, first_line, meaning_of
from kit.database.hosts import connect
from kit.database.sqlite_engines import EXACT_LIKE, begin_immediate
from kit.database.sqlite_functions import add_functions
from kit.database.sqlite_rebuild import DRIVER
from kit.database.url_options import driver_options

CONNECT_SECONDS = 10
"""The timeout for connecting to PostgreSQL."""
LOCK_TIMEOUT_SECONDS = 60
"""The longest wait for the lock of another process that migrates the same SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    """Return an engine for migrations. SQLite does not enforce foreign keys, because tables are altered by copying."""
    if url.get_backend_name() != "sqlite":
        url, options = driver_options(url)
        arguments = {"timeout": CONNECT_SECONDS, "async_creator_fn": connect, **options}
        return create_async_engine(url, poolclass=NullPool, connect_args=arguments)
    # The warning comes from the base class of `CompleteSQLiteDialect`, which does reflect these indexes.
    warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
    options = {"timeout": LOCK_TIMEOUT_SECONDS}
    engine = create_async_engine(url.set(drivername=DRIVER), poolclass=NullPool, connect_args=options)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


class UnusableError(CommandError):
    """Raised if a database cannot be used. Alembic's command line prints its message, without a traceback."""


def may_be_usable_later(failure: Exception) -> bool:
    """Return whether a failure may be temporary: the database cannot be reached, opened or written now."""
    return isinstance(failure, UnusableError) or meaning_of(failure) in ("lost", "unavailable", "again", "timeout")


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Connect for the block, and dispose of the engine after it.

    Raises `UnusableError` if the database cannot be reached, opened or written, within the block too.
    """
    try:
        if engine.dialect.name == "sqlite":
            sqlite3.connect(engine.url.database or ":memory:").close()  # fails here, without a log line of aiosqlite
        connection = await engine.connect()
    except (OSError, ValueError, *DRIVER_ERRORS, *FAILURES) as failure:
        raise UnusableError(f"The database cannot be used: {first_line(failure)}") from failure
    try:
        yield connection
    except FAILURES as failure:
        if may_be_usable_later(failure):
            raise UnusableError(f"The database cannot be used: {first_line(failure)}") from failure
        raise
    finally:
        await connection.close()
        await engine.dispose()


def prepare(connection: Any, _: object) -> None:
    """Turn off the implicit transactions of `sqlite3`: its BEGIN comes only before an INSERT, UPDATE or DELETE.

    The file gets a write-ahead log before the migrations begin. The service would fail to give it one meanwhile,
    because SQLite does not wait for a lock then.
    """
    connection.isolation_level = None
    add_functions(connection)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute(f"PRAGMA {EXACT_LIKE}")  # for CHECKs and statements with LIKE, as in the service
    cursor.close()
