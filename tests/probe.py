"""Routes that only a test has, on the application that all tests share."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import APIRouter
from sqlalchemy import text

from kit import Database, Service
from tests.conftest import Client
from tests.people import client_of

PATIENCE = 20
"""Seconds, after which a test that waits has failed."""


@asynccontextmanager
async def probing(app: Service, router: APIRouter) -> AsyncIterator[Client]:
    """A client of the application, which has these routes too until the block ends."""
    before = list(app.router.routes)
    app.include_router(router)
    try:
        async with client_of(app) as client:
            yield client
    finally:
        app.router.routes[:] = before


@contextmanager
def having(app: Service, **parts: Any) -> Iterator[None]:
    """In the block, the runtime of the application has another database, say, or other secrets."""
    before = {name: getattr(app.runtime, name) for name in parts}
    for name, value in parts.items():
        setattr(app.runtime, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(app.runtime, name, value)


async def until(happens: Callable[[], Awaitable[Any] | bool]) -> None:
    """Ask until it is so: for what nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not (await it if inspect.isawaitable(it := happens()) else it):  # noqa: ASYNC110  no event comes from there
            await asyncio.sleep(0.01)


async def blocked(database: Database) -> bool:
    """Whether somebody waits for a lock on this PostgreSQL database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await value_of(database, waiting))


async def execute(database: Database, *sentences: str, **values: Any) -> None:
    """Run these sentences, in a transaction of their own."""
    async with database.writer.begin() as connection:
        for sentence in sentences:
            await connection.execute(text(sentence), values)


async def value_of(database: Database, sentence: str, **values: Any) -> Any:
    """The first column of the first row."""
    async with database.connect() as connection:
        return (await connection.execute(text(sentence), values)).scalar()


@asynccontextmanager
async def at_commit(database: Database, deed: str) -> AsyncIterator[None]:
    """Until the block ends, PostgreSQL evaluates this in the middle of every COMMIT that inserts a hero."""
    await execute(
        database,
        f"CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM {deed}; RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER strike AFTER INSERT ON hero DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION strike()",
    )
    yield
    await execute(database, "DROP FUNCTION strike CASCADE")
