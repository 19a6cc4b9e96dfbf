"""A database that is used from several event loops: one after the other, and at the same time."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url, text
from sqlmodel import col, func, select

from kit import Database, Service
from kit.operations.idempotency import exclusive
from kit.operations.idempotency_keys import IdempotencyKey
from tests.engines import url_for
from tests.kit.library import Book
from tests.kit.probes import BOOK
from tests.kit.service import FAST_PATH, clear, create_runtime, create_service

PROJECT = Path(__file__).parents[3]


@pytest.fixture
async def empty_url(library_url: str) -> str:
    """The URL of the library, without rows."""
    database = Database(url_for(library_url))
    await clear(database)
    await database.dispose()
    return library_url


@pytest.fixture(params=[False, True] if FAST_PATH else [False], ids=["plain", "fast"][: 1 + FAST_PATH])
def service(request: pytest.FixtureRequest, empty_url: str) -> Iterator[Service]:
    yield create_service(create_runtime(Database(url_for(empty_url))), fast=request.param)
    gc.collect()  # what was not closed would say so now


def use(client: TestClient, *, books: int) -> None:
    assert client.post("/books/", json=BOOK | {"title": f"Volume {books}"}).status_code == 201
    listed = client.get("/books/?count=true")
    assert (listed.status_code, listed.headers["X-Total-Count"]) == (200, str(books))
    assert client.get(f"/books/{listed.json()[0]['id']}").status_code == 200


def test_a_client_without_a_lifespan_has_a_loop_for_each_request(service: Service) -> None:
    client = TestClient(service)
    for number in range(3):
        use(client, books=number + 1)


def test_clients_one_after_the_other_have_a_loop_each(service: Service) -> None:
    for number in range(3):
        with TestClient(service) as client:
            use(client, books=number + 1)
    use(TestClient(service), books=4)


def test_a_loop_for_each_test_as_pytest_asyncio_has_it(service: Service) -> None:
    async def count() -> int:
        async with service.runtime.database.read() as session:
            return (await session.exec(select(func.count(col(Book.id))))).one()

    for _ in range(3):
        assert asyncio.run(count()) == 0


def test_two_loops_at_the_same_time(service: Service) -> None:
    clients, failures = threading.Barrier(2, timeout=20), []

    def work() -> None:
        try:
            with TestClient(service) as client:
                clients.wait()
                for number in range(10):
                    assert client.post("/books/", json=BOOK | {"title": f"Volume {number}"}).status_code == 201
                    assert client.get("/books/").status_code == 200
                clients.wait()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(TestClient(service).get("/books/?limit=100").json()) == 20


def test_the_engines_pass_from_loop_to_loop_and_every_connection_is_closed(empty_url: str) -> None:
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
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert all(engines is database.primary for engines in seen)


def test_a_loop_beside_another_has_engines_of_its_own(empty_url: str) -> None:
    database, others = Database(url_for(empty_url)), []

    async def ask() -> None:
        async with database.read() as session:
            await session.exec(select(1))
        others.append(database.engines)

    async def ask_twice() -> None:
        await ask()
        await asyncio.to_thread(lambda: asyncio.run(ask()))

    asyncio.run(ask_twice())
    assert [engines is database.primary for engines in others] == [True, False]


def test_a_loop_that_was_closed_without_cleaning_up_does_not_keep_the_engines(empty_url: str) -> None:
    database = Database(url_for(empty_url))

    async def claim() -> Any:
        return database.engines  # without a connection, which nobody could close

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


def test_a_program_ends_at_once_and_without_a_warning(empty_url: str) -> None:
    command = [sys.executable, "-W", "always", "-c", SCRIPT, empty_url]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_turn_of_an_idempotency_key_is_one_of_its_event_loop() -> None:
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
