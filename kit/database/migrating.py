"""The engine of a migration: one connection, with transactions that include DDL on both databases."""

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
from kit.database.folding import fold
from kit.database.hosts import connect
from kit.database.sqlite_engines import begin_immediate
from kit.database.sqlite_rebuild import DRIVER
from kit.database.url_options import driver_options

CONNECT_SECONDS = 10
"""The longest time for a connection to PostgreSQL."""
LOCK_TIMEOUT_SECONDS = 60
"""The longest wait for another process that migrates the same SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    """Return an engine for migrations. Foreign keys of SQLite are off, because a table is altered by copying it."""
    if url.get_backend_name() != "sqlite":
        url, options = driver_options(url)
        arguments = {"timeout": CONNECT_SECONDS, "async_creator_fn": connect, **options}
        return create_async_engine(url, poolclass=NullPool, connect_args=arguments)
    # `CompleteSQLiteDialect` reads these indexes; the warning comes from its base class.
    warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
    options = {"timeout": LOCK_TIMEOUT_SECONDS}
    engine = create_async_engine(url.set(drivername=DRIVER), poolclass=NullPool, connect_args=options)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


class UnusableError(CommandError):
    """Raised if a database cannot be used. Alembic's command line prints the sentence, without a traceback."""


def may_be_usable_later(failure: Exception) -> bool:
    """Return whether a failure may be temporary: the database cannot be reached, opened or written now."""
    return isinstance(failure, UnusableError) or meaning_of(failure) in ("lost", "unavailable", "again", "timeout")


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Connect. Raises `UnusableError` if the database cannot be reached, opened or written."""
    try:
        if engine.dialect.name == "sqlite":
            sqlite3.connect(engine.url.database or ":memory:").close()  # the thread of a failed connection would log
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
    """Turn off the transactions of Python's driver, which commits before DDL and begins at the first INSERT only."""
    connection.isolation_level = None
    connection.create_function("fold", 1, fold, deterministic=True)
