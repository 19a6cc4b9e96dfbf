"""SQLite engines: one connection for writing, a pool for reading, and the settings of their connections."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import URL, Connection, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.database import sqlite_texts
from kit.database.engines import Engines, Pool, name_origin
from kit.database.failed_transactions import refuse_failed_transactions
from kit.database.integer_values import round_values
from kit.database.references import name_reference
from kit.database.sqlite_file import SQLiteFile
from kit.database.sqlite_functions import add_functions
from kit.database.sqlite_limits import refuse_negative_limit
from kit.database.statements import watch_statements
from kit.database.transaction_control import refuse_ending_texts
from kit.http.fairness import FairPool

SMALL_CACHE = "cache_size=-512"
"""The page cache of each reading connection: 512 KiB suffice, because the operating system caches the file too."""
EXACT_LIKE = "case_sensitive_like=ON"
"""LIKE distinguishes upper and lower case, as on PostgreSQL. SQLAlchemy compiles `ilike` to LIKE of `lower(…)`."""
CLOCK_INTERVAL = 1_000_000
"""Instructions of SQLite's virtual machine between two checks of the statement timeout: about 10 ms."""


def sqlite_engines(url: URL, pool: Pool) -> Engines:
    """Return a writer with one connection, and a reader with `pool.size`. For a database in memory, both share one."""
    in_memory = url.database in (None, "", ":memory:")
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    writer = sqlite_engine(url, pool, size=1, pragmas=pragmas)
    refuse_failed_transactions(writer.sync_engine)
    event.listen(writer.sync_engine, "begin", begin_immediate)  # after a failed statement was forgotten
    refuse_ending_texts(writer.sync_engine)
    event.listen(writer.sync_engine, "handle_error", name_reference)
    event.listen(writer.sync_engine, "handle_error", end_failed_commit)
    event.listen(writer.sync_engine, "invalidate", end_cancelled)
    if in_memory:  # a database in memory has a single connection, which readers and writers share
        return Engines(writer, writer.execution_options(reading=True))
    reader = sqlite_engine(url, pool, size=pool.size, pragmas=("query_only=ON", SMALL_CACHE), reset=None)
    event.listen(reader.sync_engine, "invalidate", interrupt)
    watch_file(Engines(writer, reader), str(url.database))
    return Engines(writer, reader)


def close_returned(_: object, record: Any) -> None:
    """Close a connection when it is returned to a pool that has been replaced. Listens to `checkin`."""
    record.close()


def watch_file(engines: Engines, path: str) -> None:
    """Check before each COMMIT and before some reads whether the file was deleted, moved or replaced (`SQLiteFile`)."""

    def close_all() -> None:
        for engine in engines:
            former = engine.sync_engine.pool
            engine.sync_engine.dispose()
            event.listen(former, "checkin", close_returned)

    file = SQLiteFile(path, close_all)
    for engine in engines:
        event.listen(engine.sync_engine, "do_connect", file.before_connecting)
        event.listen(engine.sync_engine, "connect", file.connected)
        event.listen(engine.sync_engine, "close", file.closed)
    event.listen(engines.writer.sync_engine, "commit", file.check)
    event.listen(engines.reader.sync_engine, "before_cursor_execute", file.check_if_due)


def sqlite_engine(
    url: URL, pool: Pool, *, size: int, pragmas: Sequence[str], reset: Literal["rollback"] | None = "rollback"
) -> AsyncEngine:
    """Return an engine for a SQLite file with `size` connections, on which `pragmas` are executed.

    `reset` is SQLAlchemy's `pool_reset_on_return`; None for readers, which begin no transaction.
    """
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        poolclass=FairPool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=pool.timeout,
        pool_use_lifo=True,
        pool_reset_on_return=reset,
        skip_autocommit_rollback=reset is None,
        # `timeout` is SQLite's busy timeout: waits for writers of other processes
        connect_args={"timeout": pool.lock_timeout, "factory": sqlite_texts.Connection},
    )

    round_values(engine.dialect)
    event.listen(engine.sync_engine, "handle_error", name_origin)
    event.listen(engine.sync_engine, "connect", preparation(pool, pragmas))
    watch_statements(engine.sync_engine, pool.slow_statement)
    event.listen(engine.sync_engine, "before_cursor_execute", lambda connection, *_: start_clock(connection.info))
    event.listen(engine.sync_engine, "before_cursor_execute", refuse_negative_limit)
    return engine


def preparation(pool: Pool, pragmas: Sequence[str]) -> Callable[[Any, Any], None]:
    """Return the listener that prepares each new connection. It listens to `connect`."""

    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late: not before a SELECT
        add_functions(connection)
        info = record.info
        info["seconds"] = pool.statement_timeout
        connection.run_async(
            lambda driver: driver.set_progress_handler(lambda: time.monotonic() > info["until"], CLOCK_INTERVAL)
        )
        cursor = connection.cursor()
        for pragma in (EXACT_LIKE, *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute("SELECT count(*) FROM sqlite_master")  # opens the write-ahead log
        cursor.fetchall()
        cursor.close()

    return prepare


def start_clock(info: dict[Any, Any]) -> None:
    """Set the end of the statement timeout, `until`, in the `info` of a SQLite connection."""
    info["until"] = time.monotonic() + info["seconds"]


def begin_immediate(connection: Connection) -> None:
    """Take SQLite's write lock at BEGIN. Otherwise a transaction that reads first could fail at its first write."""
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def end_failed_commit(context: ExceptionContext) -> None:
    """Roll back after a failed COMMIT: SQLite would keep the transaction open and the file locked."""
    # a COMMIT has no statement
    if context.statement is not None or context.connection is None or context.connection.invalidated:
        return
    connection = context.connection.connection
    if getattr(connection.driver_connection, "in_transaction", False):
        connection.rollback()


def interrupt(connection: Any, record: Any, _: object) -> None:
    """Stop a cancelled statement, which would go on in its thread. If it has not begun, its timeout is over then."""
    record.info["until"] = 0
    with suppress(StopIteration):
        connection.driver_connection.interrupt().send(None)  # a coroutine that never suspends


def end_cancelled(connection: Any, record: Any, _: object) -> None:
    """Roll back after a cancelled statement of the writer, which would keep the file locked.

    The statement is stopped by its timeout. An interrupt could stop the ROLLBACK too, and the file would stay locked.
    """
    record.info["until"] = 0
    connection.rollback()
