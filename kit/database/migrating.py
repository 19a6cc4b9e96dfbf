"""The engine of a migration: one connection, with transactions that include DDL on both databases."""

import warnings
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kit.database.engines import begin_immediate, fold
from kit.database.sqlite_rebuild import DRIVER
from kit.database.urls import driver_options

CONNECT_SECONDS = 10
"""The longest time for a connection to PostgreSQL."""
LOCK_TIMEOUT_SECONDS = 60
"""The longest wait for another process that migrates the same SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    """Return an engine for migrations. Foreign keys of SQLite are off, because a table is altered by copying it."""
    if url.get_backend_name() != "sqlite":
        url, options = driver_options(url)
        return create_async_engine(url, poolclass=NullPool, connect_args={**options, "timeout": CONNECT_SECONDS})
    # `CompleteSQLiteDialect` reads these indexes; the warning comes from its base class.
    warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
    options = {"timeout": LOCK_TIMEOUT_SECONDS}
    engine = create_async_engine(url.set(drivername=DRIVER), poolclass=NullPool, connect_args=options)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


def prepare(connection: Any, _: object) -> None:
    """Turn off the transactions of Python's driver, which commits before DDL and begins at the first INSERT only."""
    connection.isolation_level = None
    connection.create_function("fold", 1, fold, deterministic=True)
