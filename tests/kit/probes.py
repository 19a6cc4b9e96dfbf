"""Helpers of the kit's tests: create rows through the API, replace parts of the runtime, query the database."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import text

from kit import Database
from kit.http.principals import CURRENT_PRINCIPAL, Principal
from tests.engines import Client
from tests.waiting import TIMEOUT_SECONDS as TIMEOUT_SECONDS
from tests.waiting import until as until

Json = dict[str, Any]
SHELF = {"name": "Poetry", "room": "Reading room"}
BOOK = {"title": "Emma", "author": "Jane Austen"}


async def made(client: Client, path: str, **fields: Any) -> Json:
    """Return the response to a POST that creates a resource."""
    answer = await client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    thing: Json = answer.json()
    return thing


async def new_book(client: Client, **fields: Any) -> Json:
    return await made(client, "/books/", **BOOK | fields)


async def new_shelf(client: Client, **fields: Any) -> Json:
    return await made(client, "/shelves/", **SHELF | fields)


async def read(client: Client, path: str, **parameters: Any) -> Any:
    answer = await client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def with_attributes(thing: Any, **attributes: Any) -> Iterator[None]:
    """Set attributes during the block, such as another database of a runtime."""
    before = {name: getattr(thing, name) for name in attributes}
    for name, value in attributes.items():
        setattr(thing, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)


async def until_collected(happens: Callable[[], bool]) -> None:
    """Poll until the condition holds, and collect garbage: that closes generators that FastAPI left suspended."""

    def happens_now() -> bool:
        gc.collect()
        return happens()

    await until(happens_now)


async def blocked(database: Database) -> bool:
    """Return whether a transaction waits for a lock in this PostgreSQL database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await value_of(database, waiting))


async def execute(database: Database, *statements: str, **values: Any) -> None:
    """Execute these statements in one transaction."""
    async with database.writer.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement), values)


async def value_of(database: Database, statement: str, **values: Any) -> Any:
    """Return the first column of the first row."""
    async with database.connect() as connection:
        return (await connection.execute(text(statement), values)).scalar()


@asynccontextmanager
async def at_commit(database: Database, table: str, action: str) -> AsyncIterator[None]:
    """During the block, PostgreSQL evaluates this expression in every COMMIT that inserts into the table."""
    await execute(
        database,
        f"CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM {action}; RETURN NULL; END'",
        f"CREATE CONSTRAINT TRIGGER strike AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION strike()",
    )
    yield
    await execute(database, "DROP FUNCTION strike CASCADE")


@asynccontextmanager
async def left_out(database: Database, table: str, condition: str) -> AsyncIterator[None]:
    """During the block, a trigger silently discards INSERTs of rows for which the SQL condition holds."""
    if database.is_sqlite:
        made = [f"CREATE TRIGGER skip BEFORE INSERT ON {table} WHEN {condition} BEGIN SELECT RAISE(IGNORE); END"]
    else:
        body = f"BEGIN IF {condition} THEN RETURN NULL; END IF; RETURN NEW; END"
        made = [
            f"CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER skip BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION skip()",
        ]
    await execute(database, *made)
    try:
        yield
    finally:
        await execute(database, "DROP TRIGGER skip" if database.is_sqlite else "DROP FUNCTION skip CASCADE")


async def read_all(client: Client, path: str) -> list[Json]:
    """Return all rows in the order of their ids."""
    rows: list[Json] = []
    while page := await read(client, path, sort="id", limit=100, offset=len(rows)):
        rows += page
    return rows


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Set the principal during the block."""
    token = CURRENT_PRINCIPAL.set(principal)
    try:
        yield
    finally:
        CURRENT_PRINCIPAL.reset(token)
