"""How Alembic reaches the database: in one transaction, alone, and with SQLite's foreign keys off meanwhile."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import main
from heroes.kit.database import begin_immediate
from settings import load

LOCK = 7_265_726_573  # any number, the same for all who migrate
PATIENCE = 60
"""Seconds to wait for another process that migrates a SQLite file."""

assert main.RESOURCES  # with the application, every table is known


def engine_for(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, poolclass=NullPool)
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": PATIENCE})
    event.listen(engine.sync_engine, "connect", leave_transactions_to_us)
    event.listen(engine.sync_engine, "begin", begin_immediate)
    return engine


def leave_transactions_to_us(connection: Any, _: object) -> None:
    connection.isolation_level = None


def migrate(connection: Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=is_sqlite,  # SQLite alters a table by copying it
        transactional_ddl=True,
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
