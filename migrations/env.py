"""How Alembic reaches the database: in one transaction, alone, and with SQLite's foreign keys off meanwhile."""

import asyncio
import warnings
from typing import Any, Literal

from alembic import context
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

import main  # noqa: F401  with the application, every table is known
from kit.database.engines import begin_immediate
from kit.models.types import MoneyColumn
from settings import load

LOCK = 7_265_726_573  # any number, the same for all who migrate
PATIENCE = 60
"""Seconds to wait for another process that migrates a SQLite file."""


def engine_for(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": PATIENCE})
    event.listen(engine.sync_engine, "connect", leave_transactions_to_us)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


# On SQLite Alembic cannot compare an index over an expression; on PostgreSQL it does.
warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified expression-based index")


def leave_transactions_to_us(connection: Any, _: object) -> None:
    connection.isolation_level = None


def render(kind: str, thing: object, _: object) -> str | Literal[False]:
    """A migration does not change when the code does: it says what the kit's types are in the database."""
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
        if is_sqlite:  # BEGIN IMMEDIATE has locked the file
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
