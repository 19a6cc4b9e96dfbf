"""A database in several event loops, one after the other and at the same time."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlmodel import col, func, select

from kit import Database
from kit.operations.idempotency import exclusive
from kit.operations.idempotency_keys import IdempotencyKey
from tests.engines import url_for
from tests.kit.bookshop import Book
from tests.kit.service import clear
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.no_fast_path

PROJECT = Path(__file__).parents[3]


@pytest.fixture
async def empty_url(library_url: str) -> str:
    """Provide the URL of the bookshop's database, without rows."""
    database = Database(url_for(library_url))
    await clear(database)
    await database.dispose()
    return library_url


def test_a_loop_for_each_test_as_pytest_asyncio_has_it(empty_url: str) -> None:
    database = Database(url_for(empty_url))

    async def count() -> int:
        async with database.read() as session:
            return (await session.exec(select(func.count(col(Book.id))))).one()

    for _ in range(3):
        assert asyncio.run(count()) == 0


def test_engines_are_used_by_consecutive_loops_and_connections_are_closed(empty_url: str) -> None:
    database = Database(url_for(empty_url))
    seen = []

    async def ask() -> None:
        async with database.connect() as connection:
            await connection.execute(text("SELECT 1"))
        seen.append(database.engines)

    before = set(threading.enumerate())
    asyncio.run(ask())
    asyncio.run(ask())
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_SECONDS)
        assert not thread.is_alive()
    assert len(seen) == 2
    assert all(engines is database.primary for engines in seen)


def test_a_concurrent_loop_has_separate_engines(empty_url: str) -> None:
    database, others = Database(url_for(empty_url)), []

    async def ask() -> None:
        async with database.read() as session:
            await session.exec(select(1))
        others.append(database.engines)

    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(ask())
        other.run(ask())
    assert [engines is database.primary for engines in others] == [True, False]


def test_a_loop_that_was_closed_without_cleaning_up_does_not_keep_the_engines(empty_url: str) -> None:
    database = Database(url_for(empty_url))

    async def claim() -> Any:
        return database.engines  # without a connection, which could not be closed later

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(claim()) is database.primary
    loop.close()
    assert asyncio.run(claim()) is database.primary


def test_outside_of_any_loop_the_engines_are_the_primary_ones(empty_url: str) -> None:
    database = Database(url_for(empty_url))
    assert database.writer is database.primary.writer
    assert database.reader is database.primary.reader


def test_a_database_in_memory_outlives_a_loop_that_was_closed_without_cleaning_up() -> None:
    database = Database(make_url("sqlite+aiosqlite://"))

    async def execute(statement: str) -> Any:
        async with database.writer.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    loop = asyncio.new_event_loop()
    loop.run_until_complete(execute("CREATE TABLE kept (id integer)"))
    loop.close()
    assert asyncio.run(execute("SELECT count(*) FROM kept")) == 0
    asyncio.run(database.dispose())


def test_a_database_in_memory_keeps_its_rows_from_loop_to_loop() -> None:
    database = Database(make_url("sqlite+aiosqlite://"))

    async def execute(statement: str) -> Any:
        async with database.writer.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    asyncio.run(execute("CREATE TABLE kept (id integer)"))
    asyncio.run(execute("INSERT INTO kept VALUES (1)"))
    assert asyncio.run(execute("SELECT count(*) FROM kept")) == 1
    asyncio.run(database.dispose())


SCRIPT = """
import asyncio, sys
from sqlmodel import select
from kit import Database
from tests.engines import url_for

database = Database(url_for(sys.argv[1]))

async def ask():
    async with database.read() as session:
        await session.exec(select(1))
    async with database.write() as session:
        await session.exec(select(1))

for _ in range(2):
    asyncio.run(ask())
"""


@pytest.mark.untraced
def test_a_program_ends_at_once_and_without_a_warning(empty_url: str) -> None:
    command = [sys.executable, "-W", "always", "-c", SCRIPT, empty_url]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_locks_of_idempotency_keys_belong_to_an_event_loop() -> None:
    key, is_taken, is_done = IdempotencyKey(b"k", b"r", ()), threading.Event(), threading.Event()

    async def take_turns() -> None:
        async def take() -> None:
            async with exclusive(key):
                await asyncio.sleep(0.01)

        await asyncio.gather(take(), take(), take())

    async def keep_turn() -> None:
        async with exclusive(key):
            is_taken.set()
            await asyncio.to_thread(is_done.wait)

    thread = threading.Thread(target=asyncio.run, args=(keep_turn(),))
    thread.start()
    is_taken.wait()
    try:
        asyncio.run(take_turns())
        asyncio.run(take_turns())
    finally:
        is_done.set()
        thread.join()
