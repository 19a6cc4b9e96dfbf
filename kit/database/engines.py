"""How is each database spoken to: the engines, their pools, and what is set on every connection."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import URL, Connection, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

READ_ONLY = "25006"
SMALL_CACHE = "cache_size=-512"
"""In KiB, of each reader: all read the same file, of which the system keeps in memory what is asked for."""
INSTRUCTIONS = 1_000_000
"""Of SQLite's machine, between two looks at the clock: some hundredths of a second."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The knobs of the connection pool; sizes in connections, times in seconds."""

    size: int = 20
    overflow: int = 10
    timeout: float = 3
    recycle: float = 1800
    pre_ping: bool = False
    application_name: str = "heroes"
    statement_timeout: float = 10
    lock_timeout: float = 5
    jit: bool = False
    echo: bool = False


def postgres_engines(url: URL, pool: Pool) -> tuple[AsyncEngine, AsyncEngine]:
    server_settings = {
        "application_name": pool.application_name,
        "jit": "on" if pool.jit else "off",  # compiling a plan costs more than these short queries
        "statement_timeout": str(round(pool.statement_timeout * 1000)),
        "lock_timeout": str(round(pool.lock_timeout * 1000)),
    }
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.timeout,
        pool_recycle=pool.recycle,
        pool_pre_ping=pool.pre_ping,
        pool_use_lifo=True,
        connect_args={"server_settings": server_settings, "timeout": pool.timeout},
    )
    event.listen(engine.sync_engine, "handle_error", leave_read_only_server)
    return engine, engine.execution_options(isolation_level="AUTOCOMMIT")


def leave_read_only_server(context: ExceptionContext) -> None:
    """After a failover the old primary may be a standby: all connections are made anew, perhaps to the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def sqlite_engines(url: URL, pool: Pool) -> tuple[AsyncEngine, AsyncEngine]:
    in_memory = url.database in (None, "", ":memory:")
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    writer = sqlite_engine(url, pool, size=1, pragmas=pragmas)
    event.listen(writer.sync_engine, "begin", begin_immediate)
    event.listen(writer.sync_engine, "reset", end_failed_commit)
    event.listen(writer.sync_engine, "invalidate", end_broken_off)
    if in_memory:  # the database is the connection: readers and writers take turns on it
        return writer, writer.execution_options(reading=True)
    reader = sqlite_engine(url, pool, size=pool.size, pragmas=("query_only=ON", SMALL_CACHE), reset=None)
    return writer, reader


def sqlite_engine(
    url: URL, pool: Pool, *, size: int, pragmas: Sequence[str], reset: Literal["rollback"] | None = "rollback"
) -> AsyncEngine:
    """`reset` is what happens on return to the pool: nothing for readers, who never begin; it is a way to a thread."""
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=pool.timeout,
        pool_use_lifo=True,
        pool_reset_on_return=reset,
        connect_args={"timeout": pool.lock_timeout},  # how long to wait for another process that writes
    )

    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin too late, and not before a SELECT
        connection.create_function("fold", 1, fold, deterministic=True)
        info = record.info
        info["seconds"] = pool.statement_timeout
        connection.run_async(
            lambda driver: driver.set_progress_handler(lambda: time.monotonic() > info["until"], INSTRUCTIONS)
        )
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "before_cursor_execute", lambda connection, *_: start_clock(connection.info))
    return engine


def start_clock(info: dict[Any, Any]) -> None:
    """The time for one statement of SQLite begins, on the connection with this info."""
    info["until"] = time.monotonic() + info["seconds"]


def begin_immediate(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads and then writes cannot be overtaken."""
    if not connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def end_failed_commit(connection: Any, *_: object) -> None:
    """SQLite keeps a transaction open, and the file locked, if its COMMIT fails."""
    if connection.driver_connection.in_transaction:
        connection.rollback()


def end_broken_off(connection: Any, record: Any, _: object) -> None:
    """A cancelled statement runs on in its thread, and keeps the file locked, until it is garbage: end its time."""
    record.info["until"] = 0
    connection.rollback()


def fold(text: str | None) -> str | None:
    """Lower case, letter by letter, as PostgreSQL's `lower` does; SQLite's own knows ASCII only."""
    return text and "".join(letter.lower()[0] for letter in text)
