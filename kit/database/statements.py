"""Statements: counts them by kind, and logs those that are slow, with their text and without values."""

import logging
import re
import time
from typing import Any

from sqlalchemy import ExceptionContext, event
from sqlalchemy.engine import Engine

from kit.http.events import COUNTS

log = logging.getLogger("kit")
KINDS = frozenset({"select", "insert", "update", "delete"})
"""The kinds that are counted by themselves: the first words of statements."""
OTHER = "other"
MIN_SLOW_SECONDS = 0.01
"""The shortest time after which a statement may be called slow: the fast path looks for no shorter one."""
SLOW = "slow_statement"
"""The key in a connection's `info` of the seconds after which its statements are slow."""
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


def start(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, is_many: bool) -> None:
    context.started = time.perf_counter()


def end(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, is_many: bool) -> None:
    note(kind_of(statement), statement, time.perf_counter() - context.started, connection.info)


def end_failed(failed: ExceptionContext) -> None:
    """Count a statement that has failed: it may have been slow, above all if it was cancelled by its timeout."""
    started = getattr(failed.execution_context, "started", None)
    if started is not None and failed.statement is not None:
        info = {} if failed.connection is None or failed.connection.invalidated else failed.connection.info
        note(kind_of(failed.statement), failed.statement, time.perf_counter() - started, info)


def kind_of(statement: str) -> str:
    """Return the kind of a statement: its first word, if that is one of `KINDS`. A CTE counts as a SELECT."""
    word = statement.lstrip(" \n\t(")[:6].lower()
    return word if word in KINDS else "select" if word.startswith("with") else OTHER


def note(kind: str, statement: str, seconds: float, info: Any) -> None:
    """Count a statement, and log it if it was slow. `info` is that of its connection."""
    COUNTS["statements", kind] += 1
    COUNTS["statement_seconds", kind] += seconds
    if seconds >= MIN_SLOW_SECONDS and seconds >= info.get(SLOW, seconds):
        log_slow(kind, statement, seconds)


def log_slow(kind: str, statement: str, seconds: float) -> None:
    COUNTS["slow_statements", kind] += 1
    text, milliseconds = without_values(statement), round(seconds * 1000, 1)
    fields = {"statement": text, "duration_ms": milliseconds}
    log.warning("Slow statement, %s ms: %s", milliseconds, text, extra=fields)


def without_values(statement: str) -> str:
    """Return the text of a statement in one line, with `?` for the values that are written into it."""
    text = " ".join(LITERALS.sub("?", statement[: 2 * MAX_TEXT]).split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
