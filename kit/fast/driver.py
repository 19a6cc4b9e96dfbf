"""Driver access: executes statements by asyncpg or aiosqlite, on connections of SQLAlchemy's pool.

Failures are raised by SQLAlchemy's own code, which also invalidates lost connections (`driver_failures`).
SQLAlchemy's pool has to run in a greenlet. Creating one allocates a Python stack, which takes longer than most
functions that run in it here. Therefore a greenlet that has finished a function is kept for the next one:

    idle --spawn--> runs a function --await_only--> suspended --the awaitable ends--> runs
    runs --the function returns or raises--> idle
"""

import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from threading import local
from typing import Any, TypeVar

import aiosqlite
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]
from sqlalchemy import Connection, util
from sqlalchemy.engine import Engine
from sqlalchemy.pool import PoolProxiedConnection

from kit.database.poolers import LOCAL_SETTINGS
from kit.database.statements import MIN_SLOW_SECONDS, OTHER, SLOW, log_slow
from kit.fast.driver_failures import raise_as_sqlalchemy
from kit.fast.multi_row_inserts import Statement, inserts_of_many
from kit.http.events import COUNTS
from kit.http.traces import TRACERS

Rows = Sequence[Sequence[Any]]
Processor = Callable[[Any], Any]
T = TypeVar("T")
MAX_IDLE = 100
"""The maximum number of idle greenlets of a thread."""
BEGIN: Statement = (OTHER, "BEGIN IMMEDIATE", ())


class Worker(greenlet):  # type: ignore[misc]  # untyped
    """A greenlet that runs one function after the other."""

    __sqlalchemy_greenlet_provider__ = True
    """The mark by which SQLAlchemy permits `await_only` in this greenlet."""
    is_busy = False
    failure: BaseException | None = None
    """The exception of the last function; None if it returned a result."""

    def run(self, function: Callable[[], Any] | None) -> None:
        while True:
            result, self.failure = None, None
            try:
                result = function()  # type: ignore[misc]  # not None
            except BaseException as failure:
                self.failure = failure
            self.is_busy, function = False, None
            function = self.parent.switch(result)


class Workers(local):
    """The idle greenlets, separate for each thread, because a greenlet cannot run in another thread."""

    def __init__(self) -> None:
        self.idle: list[Worker] = []


WORKERS = Workers()


async def spawn(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a greenlet, so that it can call `await_only`, and return its result."""
    idle, current = WORKERS.idle, getcurrent()
    worker = idle.pop() if idle else Worker()
    worker.parent, worker.gr_context, worker.is_busy = current, current.gr_context, True
    result: Any = worker.switch(partial(function, *arguments))
    while worker.is_busy:
        result = await _resume(worker, result)
    failure, worker.failure = worker.failure, None
    if len(idle) < MAX_IDLE:
        idle.append(worker)
    if failure is not None:
        raise failure
    return result  # type: ignore[no-any-return]


async def _resume(worker: Worker, awaitable: Awaitable[Any]) -> Any:
    try:
        value = await awaitable
    except BaseException:
        return worker.throw(*sys.exc_info())
    return worker.switch(value)


def connect(engine: Engine) -> PoolProxiedConnection:
    """Return a connection from the pool, after replacing those that are closed. Must run in a greenlet."""
    while True:
        connection = _check_out(engine)
        driver: Any = connection.driver_connection
        if engine.dialect.name != "postgresql" or not driver.is_closed():
            return connection
        connection.invalidate()
        connection.close()


def _check_out(engine: Engine) -> PoolProxiedConnection:
    try:
        return engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as failure:
        Connection._handle_dbapi_exception_noconnection(failure, engine.dialect, engine)


def read(engine: Engine, sql: str, arguments: Sequence[Any]) -> Rows:
    """Return the rows of a SELECT in autocommit. Must run in a greenlet. Raises the exceptions of SQLAlchemy."""
    connection = connect(engine)
    try:
        return read_on(connection, sql, arguments)
    except BaseException as failure:
        raise_as_sqlalchemy(failure, engine, connection, sql, arguments)
    finally:
        connection.close()


def read_on(connection: PoolProxiedConnection, sql: str, arguments: Sequence[Any]) -> Rows:
    driver: Any = connection.driver_connection
    started = time.perf_counter()
    try:
        if not isinstance(driver, aiosqlite.Connection):
            fetch = getattr(driver, "fetch_values", None) or driver.fetch  # `kit.replicas` has its own connections
            rows: Rows = util.await_only(fetch(sql, *arguments))
        else:
            info = connection.info
            start_clock(info)
            file = info.get("file")
            if file is not None and time.monotonic() > file.due:
                file.check()
            rows = list(util.await_only(driver.execute_fetchall(sql, arguments)))
    except BaseException as failure:
        record("select", sql, time.perf_counter() - started, connection, failure)
        raise
    record("select", sql, time.perf_counter() - started, connection)
    return rows


def record(
    kind: str, sql: str, seconds: float, connection: PoolProxiedConnection, failure: BaseException | None = None
) -> None:
    """Count a statement, log it if it was slow, and trace it, as `kit.database.statements.record` does."""
    COUNTS["statements", kind] += 1
    COUNTS["statement_seconds", kind] += seconds
    if seconds >= MIN_SLOW_SECONDS and seconds >= connection.info.get(SLOW, seconds):
        log_slow(kind, sql, seconds)
    for tracer in TRACERS:
        tracer.record(kind, sql, seconds, failure)


async def timed(step: Awaitable[Any], kind: str, sql: str, connection: PoolProxiedConnection) -> Any:
    """Return the result of a statement, and `record` it."""
    started = time.perf_counter()
    try:
        result = await step
    except BaseException as failure:
        record(kind, sql, time.perf_counter() - started, connection, failure)
        raise
    record(kind, sql, time.perf_counter() - started, connection)
    return result


def start_clock(info: dict[Any, Any]) -> None:
    """Set the end of the statement timeout of a SQLite connection in its `info`, as the kit's engine does."""
    info["until"] = time.monotonic() + info["seconds"]


async def insert(
    connection: PoolProxiedConnection,
    sql: str,
    rows: Sequence[Sequence[Any]],
    lock_timeout: float | None,
    statement_timeout: float | None,
) -> Rows:
    """Begin a transaction, and execute an INSERT for each of these rows. Returns the rows of RETURNING.

    The timeouts, in seconds, apply to each statement on PostgreSQL; None for the defaults.
    """
    if isinstance(connection.driver_connection, aiosqlite.Connection):
        if len(rows) == 1:
            return await visit(connection, BEGIN, ("insert", sql, rows[0]))
        returned: list[Any] = list(await visit(connection, BEGIN, *inserts_of_many(sql, rows)))
        return sorted(returned)  # generated ids ascend in the order of the rows
    await begin(connection, lock_timeout, statement_timeout)
    return await write(connection, "insert", sql, rows)


async def begin(
    connection: PoolProxiedConnection, lock_timeout: float | None = None, statement_timeout: float | None = None
) -> None:
    """Begin a transaction of PostgreSQL, with these timeouts in seconds; None for the defaults."""
    timeouts = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    given = {name: f"{seconds * 1000:.0f}" for name, seconds in timeouts.items() if seconds is not None}
    settings = {**connection.info.get(LOCAL_SETTINGS, {}), **given}
    commands = "".join(f"; SET LOCAL {name} = {value}" for name, value in settings.items())
    await control(connection, f"BEGIN{commands}")


async def write(connection: PoolProxiedConnection, kind: str, sql: str, rows: Sequence[Sequence[Any]]) -> Rows:
    """Execute a statement with RETURNING once for each row of arguments. Returns the rows of all executions."""
    driver: Any = connection.driver_connection
    if isinstance(driver, aiosqlite.Connection):
        return await visit(connection, *((kind, sql, row) for row in rows))
    step = driver.fetchmany(sql, rows) if len(rows) > 1 else driver.fetch(sql, *rows[0])
    returned: Rows = await timed(step, kind, sql, connection)
    return returned


async def lock(connection: PoolProxiedConnection, sql: str, arguments: Sequence[Any], **timeouts: float | None) -> Rows:
    """Begin a transaction, and return the rows of a SELECT … FOR UPDATE. `timeouts` are those of `begin`."""
    driver: Any = connection.driver_connection
    if isinstance(driver, aiosqlite.Connection):
        return await visit(connection, BEGIN, ("select", sql, arguments))
    await begin(connection, **timeouts)
    return list(await timed(driver.fetch(sql, *arguments), "select", sql, connection))


async def visit(connection: PoolProxiedConnection, *statements: Statement) -> Rows:
    """Execute statements of SQLite by one call to aiosqlite's thread. Returns the rows of all of them.

    The statement timeout applies to each statement. If the caller is cancelled, statements that have not begun are
    skipped.
    """
    driver: Any = connection.driver_connection
    left, seconds = deque(statements), list[float]()
    started = time.perf_counter()
    failure: BaseException | None = None
    try:
        rows: Rows = await driver._execute(execute_all, driver, connection.info, left, seconds)
    except BaseException as raised:
        left.clear()
        failure = raised
        raise
    finally:
        done = len(seconds)
        for (kind, sql, _), taken in zip(statements[:done], seconds[:done], strict=True):
            record(kind, sql, taken, connection)
        for kind, sql, _ in statements[done : done + 1]:
            record(kind, sql, time.perf_counter() - started - sum(seconds[:done]), connection, failure)
    return rows


def execute_all(driver: Any, info: dict[Any, Any], left: deque[Statement], seconds: list[float]) -> list[Any]:
    """Execute the statements `left`, in aiosqlite's thread, and append the duration of each to `seconds`."""
    rows: list[Any] = []
    while True:
        start_clock(info)  # before a statement is taken: a cancelled one must not get a new timeout
        if not left:
            return rows
        started = time.perf_counter()
        _, sql, arguments = left.popleft()
        rows += driver._conn.execute(sql, arguments).fetchall()
        seconds.append(time.perf_counter() - started)


async def commit(connection: PoolProxiedConnection) -> None:
    """Commit. On PostgreSQL the deferred constraints are checked before, by a statement.

    That statement has the statement timeout, which a COMMIT does not have. On SQLite the check takes no time.
    """
    is_sqlite = isinstance(connection.driver_connection, aiosqlite.Connection)
    file = connection.info.get("file")
    if file is not None and not is_unchanged(file.known):
        await spawn(file.check)
    await control(connection, "COMMIT" if is_sqlite else "SET CONSTRAINTS ALL IMMEDIATE; COMMIT")


def is_unchanged(known: Mapping[str, tuple[int, int]]) -> bool:
    """Return whether these files still have their device and inode, as `kit.database.sqlite_file` does."""
    try:
        for path, identity in known.items():
            found = os.stat(path)  # noqa: PTH116  a quarter of the time of `Path.stat`
            if (found.st_dev, found.st_ino) != identity:
                return False
    except OSError:
        return False
    return True


async def control(connection: PoolProxiedConnection, command: str) -> None:
    """Execute a BEGIN, COMMIT or ROLLBACK by the driver, in half the time of SQLAlchemy's adapters."""
    driver: Any = connection.driver_connection
    execute = driver.execute_fetchall if isinstance(driver, aiosqlite.Connection) else driver.execute
    await timed(execute(command), OTHER, command, connection)


def roll_back(connection: PoolProxiedConnection) -> None:
    """Roll back if a transaction is open. Must run in a greenlet."""
    driver: Any = connection.driver_connection
    if not isinstance(driver, aiosqlite.Connection) or driver.in_transaction:
        util.await_only(control(connection, "ROLLBACK"))


def in_utc(text: str | None) -> datetime | None:
    """Return the datetime of a time in UTC that SQLite has stored as text; None for NULL."""
    return None if text is None else datetime.fromisoformat(text + "+00:00")


def all_in_utc(texts: Sequence[str]) -> Iterable[datetime]:
    """Do `in_utc` for many texts, in two thirds of the time."""
    return map(datetime.fromisoformat, "+00:00\n".join([*texts, ""]).splitlines())


def converted(rows: Rows, processors: Iterable[tuple[int, Processor]]) -> Rows:
    """Return the rows with converted values. `processors` has the index of each column to convert, and its function."""
    columns: list[Any] = list(zip(*rows, strict=True))
    for index, process in processors:
        is_of_times = process is in_utc and None not in columns[index]
        columns[index] = all_in_utc(columns[index]) if is_of_times else map(process, columns[index])
    return list(zip(*columns, strict=True))
