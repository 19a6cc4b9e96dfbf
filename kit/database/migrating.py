"""The engine of a migration: it has one connection, and its transaction takes in everything, DDL too."""

import warnings
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kit.database.engines import begin_immediate, fold
from kit.database.sqlite_rebuild import DRIVER

PATIENCE = 60
"""Seconds to wait for another process that migrates the same SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    """An engine that migrates. Foreign keys of SQLite are off, because a table is altered by copying it."""
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    # `WholeSQLite` reads these indexes itself; the warning comes from what it is built on.
    warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
    engine = create_async_engine(url.set(drivername=DRIVER), poolclass=NullPool, connect_args={"timeout": PATIENCE})
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


def prepare(connection: Any, _: object) -> None:
    """Python's driver would commit before DDL, and begin only at the first INSERT; so it leaves transactions to us."""
    connection.isolation_level = None
    connection.create_function("fold", 1, fold, deterministic=True)
