"""The environment of Alembic: all migrations run in one transaction, in one process at a time.

On SQLite a table is altered by copying it, so foreign keys are off meanwhile, and checked before the COMMIT.
"""

import asyncio
import warnings
from typing import Any, Literal

from alembic import context
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

import main  # noqa: F401  the application imports every table
from kit.database.engines import begin_immediate
from kit.models.types import MoneyColumn
from settings import load

LOCK = 7_265_726_573
"""The key of the advisory lock of PostgreSQL: any number that all processes share."""
PATIENCE = 60
"""Seconds to wait for another process that migrates the same SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": PATIENCE})
    event.listen(engine.sync_engine, "connect", leave_transactions_to_us)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


# Alembic compares indexes on expressions on PostgreSQL only; on SQLite it warns that it cannot.
warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified expression-based index")


def leave_transactions_to_us(connection: Any, _: object) -> None:
    connection.isolation_level = None


def render(kind: str, thing: object, _: object) -> str | Literal[False]:
    """The kit's types as types of SQLAlchemy: a migration must not change when the code of the kit does."""
    if kind == "type" and isinstance(thing, UTCDateTime):
        return "UTCDateTime()"  # imported by script.py.mako
    if kind == "type" and isinstance(thing, MoneyColumn):
        return 'sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite")'
    return False


def migrate(connection: Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=is_sqlite,  # SQLite alters a table by copying it
        transactional_ddl=True,
        render_item=render,
    )
    with context.begin_transaction():
        if is_sqlite:  # BEGIN IMMEDIATE locks the file
            connection.execute(text("SELECT 1"))
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
        if is_sqlite and connection.execute(text("PRAGMA foreign_key_check")).first():
            raise RuntimeError("The migration would break a foreign key.")


async def run() -> None:
    engine = engine_for(context.config.attributes.get("url") or load().database)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(run())
