"""Engines and sessions: the settings of connections, and the limits of a read session."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import String, func, literal, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from kit import Database
from kit.database.engines import Pool
from kit.database.folding import fold
from tests.engines import on_postgresql, on_sqlite, url_for
from tests.kit.bookshop import REGISTRY, TABLES, Book, Shelf
from tests.kit.probes import BOOK, value_of
from tests.kit.service import client_of, create_runtime, create_service
from tests.waiting import TIMEOUT_SECONDS

MEMORY = make_url("sqlite+aiosqlite://")


@on_postgresql
async def test_connections_are_kept_and_the_last_one_returned_is_used_first(new_database: Any) -> None:
    free = 2  # connections that are left to others, if an earlier request of this task has left its lane
    database = Database(url_for(await new_database()), Pool(size=3 + free, timeout=TIMEOUT_SECONDS))
    pool: Any = database.writer.sync_engine.pool
    connections = [await database.writer.connect() for _ in range(3)]
    pids = [(await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() for connection in connections]
    for connection in connections:
        await connection.close()
    assert (pool.checkedin(), pool.overflow()) == (3, -free)
    for _ in range(3):
        async with database.writer.connect() as connection:
            assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() == pids[-1]
    await database.dispose()


def test_the_pool_of_a_worker_has_thirty_connections_by_default() -> None:
    assert (Pool().size, Pool().overflow) == (30, 0)


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    """Provide a database in memory, with the tables of the bookshop."""
    database = Database(MEMORY)
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all, tables=TABLES)
    yield database
    await database.dispose()


async def test_of_concurrent_writers_with_a_named_lock_one_fills_the_database(database: Database) -> None:
    async def fill() -> None:
        async with database.write() as session, session.begin():
            await session.lock_exclusively("filling")
            if (await session.exec(select(Book.id))).first() is None:
                session.add(Book.model_validate(BOOK))

    await asyncio.gather(*(fill() for _ in range(5)))
    assert await value_of(database, "SELECT count(*) FROM kit_book") == 1


async def test_a_read_session_does_not_open_a_transaction(database: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(text("SELECT 1"))
        raw: Any = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert not (driver.in_transaction if database.is_sqlite else driver.is_in_transaction())


@on_sqlite
async def test_sqlite_is_durable_checks_foreign_keys_and_reads_during_writes(database: Database) -> None:
    async with database.writer.connect() as connection:
        pragmas = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    with pytest.raises(DBAPIError, match="readonly"):
        await value_of(database, "INSERT INTO kit_shelf (name) VALUES ('x') RETURNING id")


@on_postgresql
async def test_postgresql_gets_the_application_name_and_the_statement_timeout(new_database: Any) -> None:
    named = Database(url_for(await new_database()), Pool(application_name="library", statement_timeout=7))
    assert await value_of(named, "SHOW application_name") == "library"
    assert await value_of(named, "SHOW statement_timeout") == "7s"
    assert await value_of(named, "SHOW jit") == "off"
    await named.dispose()


@on_postgresql
async def test_settings_in_the_options_of_the_url_precede_those_of_the_pool(new_database: Any) -> None:
    url = url_for(await new_database()).update_query_dict({"options": "-c statement_timeout=7s -clock_timeout=1s"})
    database = Database(url, Pool(statement_timeout=3, lock_timeout=2))
    values = [await value_of(database, f"SHOW {name}") for name in ("statement_timeout", "lock_timeout", "jit")]
    await database.dispose()
    assert values == ["7s", "1s", "off"]


@on_postgresql
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("-cfoo=bar", 'unrecognized configuration parameter "foo" (the server refuses the connection: see the options'),
        ("-c a", "requires a value (the server refuses the connection: see the options in DATABASE_URL)"),
        ("x", "invalid command-line argument for server process: x"),
    ],
)
async def test_options_that_the_server_refuses_are_a_503_and_a_sentence_in_the_log(
    options: str, sentence: str, new_database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(url_for(await new_database()).update_query_dict({"options": options}))
    async with client_of(create_service(create_runtime(database))) as client:
        answers = [await client.get("/books/"), await client.post("/books/", json=BOOK), await client.get("/books/1")]
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(503, "urn:problem:unavailable")] * 3
    assert sentence in caplog.text


@on_postgresql
async def test_by_default_a_statement_may_take_ten_seconds(database: Database) -> None:
    assert await value_of(database, "SHOW statement_timeout") == "10s"


async def test_readers_and_writers_share_the_connection_of_a_database_in_memory(memory: Database) -> None:
    async def write(number: int) -> None:
        async with memory.write() as session, session.begin():
            session.add(Shelf(name=f"Shelf {number}", room="Here"))

    async def read() -> int:
        async with memory.read() as session:
            return len((await session.exec(select(Shelf))).all())

    await asyncio.gather(*(write(number) for number in range(10)), *(read() for _ in range(10)))
    assert await read() == 10


async def test_an_exhausted_pool_times_out(new_database: Any) -> None:
    database = Database(url_for(await new_database()), Pool(size=1, overflow=0, timeout=1))
    async with database.connect():
        with pytest.raises(Exception, match="QueuePool limit"):
            await asyncio.create_task(value_of(database, "SELECT 1"))
    await database.dispose()


@pytest.mark.parametrize(
    ("given", "folded"),
    [
        ("ÉÇ", "éç"), ("ΟΔΟΣ", "οδοσ"), ("Οδυσσεύς Σ ΑΣ", "οδυσσεύσ σ ασ"), ("İSTANBUL", "istanbul"), ("Iı", "iı"),
        ("Straße", "strasse"), ("STRAẞE", "strasse"), ("ſ", "s"), ("µ", "μ"), ("ǅ", "ǆ"), ("Ω", "ω"), ("ЖЁ", "жё"),
        ("'%_\\\\", "'%_\\\\"), ("", ""), (None, None),
    ],
)  # fmt: skip
async def test_case_is_folded_the_same_on_both_databases(
    database: Database, given: str | None, folded: str | None
) -> None:
    assert fold(given) == folded
    async with database.read() as session:
        assert (await session.execute(select(func.fold(literal(given, String))))).scalar_one() == folded


async def test_a_second_get_returns_the_same_object_with_its_changes(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add(Shelf(id=1, name="Poetry", room="Attic"))
    async with database.write() as session:
        shelf = await session.get(Shelf, 1)
        assert shelf is not None
        shelf.name = "Drama"
        again = await session.get(Shelf, 1)
    assert again is shelf
    assert again.name == "Drama"


async def test_a_statement_of_the_driver_is_read_too(database: Database) -> None:
    async with database.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1


SLOW = """WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 1000000000)
SELECT count(*) FROM number WHERE fold('Some text' || n) = 'x'"""
"""Runs for more than 1,000 seconds, with few checks of the statement timeout."""


@on_sqlite
@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_cancelled_statement_ends_on_sqlite(database: Database, kind: str) -> None:
    async def run() -> None:
        async with getattr(database, kind)() as session:
            await session.execute(text(SLOW))

    running = asyncio.create_task(run())
    await asyncio.sleep(0.1)
    running.cancel()
    _, still_running = await asyncio.wait([running], timeout=TIMEOUT_SECONDS)
    assert not still_running
    assert await value_of(database, "SELECT count(*) FROM kit_book") == 0
