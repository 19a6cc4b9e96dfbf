"""Statements: counts them by kind, logs those that are slow, with their text and without values, and traces them."""

import logging
import re
import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.engine import Engine

from kit.http.events import COUNTS
from kit.http.traces import TRACERS

log = logging.getLogger("kit")
KINDS = frozenset({"select", "insert", "update", "delete"})
"""The kinds that are counted by themselves: the first words of statements."""
OTHER = "other"
MIN_SLOW_SECONDS = 0.01
"""The smallest threshold of slow statements: the fast path does not check faster ones."""
SLOW = "slow_statement"
"""The key in a connection's `info` of the seconds after which its statements are slow."""
COMMIT = "COMMIT"
NO_COMMIT, SOON = None, (None, None)
COMMITTING: ContextVar[tuple[float | None, Any] | None] = ContextVar("committing", default=NO_COMMIT)
"""When the COMMIT of this task's session has begun, and the `info` of its connection; `SOON` before it begins."""
MAX_TEXT = 2000
"""The largest length of a statement in the log."""
LITERALS = re.compile(
    r"""(?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)   # PostgreSQL's $tag$ … $tag$
    | [EeXxBbNn]?'(?:[^'\\]|''|\\.)*(?:'|$)                  # texts
    | (?<![\w$".])\d[\w.]*                                   # numbers, not those in names and parameters
    """,
    re.DOTALL | re.VERBOSE,
)
"""Values within a statement. A statement with parameters has none; one that a handler has written itself may have."""


def watch_statements(engine: Engine, slow_seconds: float) -> None:
    """Count the statements of an engine, and log those that take so many seconds or more.

    The fast path executes statements by the driver, without these events, and does the same itself.
    """
    event.listen(engine, "connect", lambda _, record: record.info.__setitem__(SLOW, slow_seconds))
    event.listen(engine, "before_cursor_execute", start)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", end_failed)
    event.listen(engine, "commit", start_commit)


def start(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, is_many: bool) -> None:
    context.started = time.perf_counter()


def end(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, is_many: bool) -> None:
    record(kind_of(statement), statement, time.perf_counter() - context.started, connection.info)


def end_failed(failed: ExceptionContext) -> None:
    """Count a statement that has failed: it may have been slow, above all if it was cancelled by its timeout."""
    started = getattr(failed.execution_context, "started", None)
    if failed.statement is None:  # a COMMIT has none
        end_commit(failed.original_exception)
    elif started is not None:
        info = {} if failed.connection is None or failed.connection.invalidated else failed.connection.info
        seconds = time.perf_counter() - started
        record(kind_of(failed.statement), failed.statement, seconds, info, failed.original_exception)


def expect_commit() -> None:
    """Count the next COMMIT of this task. It is one of a session, which has an event at its end."""
    COMMITTING.set(SOON)


def start_commit(connection: Connection) -> None:
    if COMMITTING.get() is not NO_COMMIT:
        COMMITTING.set((time.perf_counter(), connection.info))


def end_commit(failure: BaseException | None = None) -> None:
    """Count the COMMIT of this task, if it has begun. A session without a connection has none."""
    started, info = COMMITTING.get() or SOON
    if started is not None:
        record(OTHER, COMMIT, time.perf_counter() - started, info, failure)
    COMMITTING.set(NO_COMMIT)


def kind_of(statement: str) -> str:
    """Return the kind of a statement: its first word, if that is one of `KINDS`. A CTE counts as a SELECT."""
    word = statement.lstrip(" \n\t(")[:6].lower()
    return word if word in KINDS else "select" if word.startswith("with") else OTHER


def record(kind: str, statement: str, seconds: float, info: Any, failure: BaseException | None = None) -> None:
    """Count a statement, log it if it was slow, and trace it. `info` is that of its connection."""
    COUNTS["statements", kind] += 1
    COUNTS["statement_seconds", kind] += seconds
    if seconds >= MIN_SLOW_SECONDS and seconds >= info.get(SLOW, seconds):
        log_slow(kind, statement, seconds)
    for tracer in TRACERS:
        tracer.record(kind, statement, seconds, failure)


def log_slow(kind: str, statement: str, seconds: float) -> None:
    COUNTS["slow_statements", kind] += 1
    text, milliseconds = without_values(statement), round(seconds * 1000, 1)
    fields = {"statement": text, "duration_ms": milliseconds}
    log.warning("Slow statement, %s ms: %s", milliseconds, text, extra=fields)


def without_values(statement: str) -> str:
    """Return the text of a statement in one line, with `?` for the values that are written into it."""
    text = " ".join(LITERALS.sub("?", statement[: 2 * MAX_TEXT]).split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
