"""SQL statements: counts them by kind, logs the slow ones with their text but without values, and traces them."""

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
"""The first words of statements that are counted separately. All others count as `OTHER`."""
OTHER = "other"
MIN_SLOW_SECONDS = 0.01
"""The lower bound of the threshold of slow statements: the fast path does not check faster ones."""
SLOW = "slow_statement"
"""The key in `Connection.info` of the threshold of slow statements, in seconds."""
COMMIT = "COMMIT"
NO_COMMIT, SOON = None, (None, None)
COMMITTING: ContextVar[tuple[float | None, Any] | None] = ContextVar("committing", default=NO_COMMIT)
"""The COMMIT of a session in this task, if one is expected: its start (`time.perf_counter`), and `Connection.info`.

It is `SOON` between `expect_commit` and the COMMIT.
"""
MAX_TEXT = 2000
"""The maximum length of a statement in the log, in characters."""
LITERALS = re.compile(
    r"""(?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)   # PostgreSQL's $tag$ … $tag$
    | [EeXxBbNn]?'(?:[^'\\]|''|\\.)*(?:'|$)                  # texts
    | (?<![\w$".])\d[\w.]*                                   # numbers, not those in names and parameters
    """,
    re.DOTALL | re.VERBOSE,
)
"""Literal values in a statement. SQLAlchemy's statements have parameters instead, but a handler's SQL text may not."""


def watch_statements(engine: Engine, slow_seconds: float) -> None:
    """Count and trace the statements of an engine, and log those that take `slow_seconds` or longer.

    The fast path executes statements by the driver, without these events, and calls `record` itself.
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
    """Record a failed statement, which may be a slow one that its timeout has ended. Listens to `handle_error`."""
    started = getattr(failed.execution_context, "started", None)
    if failed.statement is None:  # a COMMIT has none
        end_commit(failed.original_exception)
    elif started is not None:
        info = {} if failed.connection is None or failed.connection.invalidated else failed.connection.info
        seconds = time.perf_counter() - started
        record(kind_of(failed.statement), failed.statement, seconds, info, failed.original_exception)


def expect_commit() -> None:
    """Record the next COMMIT of this task. Called before a session commits: an engine has no event after a COMMIT."""
    COMMITTING.set(SOON)


def start_commit(connection: Connection) -> None:
    if COMMITTING.get() is not NO_COMMIT:
        COMMITTING.set((time.perf_counter(), connection.info))


def end_commit(failure: BaseException | None = None) -> None:
    """Record the COMMIT of this task, if it has begun: a session without a connection sends none."""
    started, info = COMMITTING.get() or SOON
    if started is not None:
        record(OTHER, COMMIT, time.perf_counter() - started, info, failure)
    COMMITTING.set(NO_COMMIT)


def kind_of(statement: str) -> str:
    """Return the kind of a statement: its first word if it is one of `KINDS`, `select` for WITH, otherwise `OTHER`."""
    word = statement.lstrip(" \n\t(")[:6].lower()
    return word if word in KINDS else "select" if word.startswith("with") else OTHER


def record(kind: str, statement: str, seconds: float, info: Any, failure: BaseException | None = None) -> None:
    """Count a statement that took `seconds`, log it if it was slow, and trace it. `info` is its `Connection.info`."""
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
    """Return the text of a statement in one line, at most `MAX_TEXT` characters, with `?` for literal values."""
    text = " ".join(LITERALS.sub("?", statement[: 2 * MAX_TEXT]).split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
