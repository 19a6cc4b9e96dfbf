"""Traced statements: a span for each SQL statement and COMMIT of a sampled request, with its text but without values.

Several requests may share a statement, by group commit or coalesced reads. Its span is a child of the first request's
span. It has links to the spans of all these requests, and each of them has a link to it.
"""

import re
import time
from collections.abc import Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, get_current_span, set_span_in_context
from sqlalchemy import URL

from kit.database.statements import without_values
from kit.tracing.current import CURRENT

TABLE = re.compile(r"\b(?:from|into|update|table)\s+([\w.\"]+)", re.IGNORECASE)
ENDS = ("COMMIT", "ROLLBACK")
MAX_NAMES = 500
SHARED_BY = "kit.shared_by"
"""The attribute for the number of requests that share a statement, sampled or not."""
SHARING: ContextVar[tuple[int, list[Span]] | None] = ContextVar("sharing", default=None)
"""The number of requests that share the statements of this task, and the spans of those that are sampled."""


class StatementSpans:
    """The `Tracer` of the kit: makes spans of the statements of one database."""

    def __init__(self, tracer: Tracer, url: URL) -> None:
        self.tracer = tracer
        name = None if url.get_backend_name() == "sqlite" else url.database  # not the path of a file
        known = {"db.namespace": name, "server.address": url.host, "server.port": url.port}
        self.attributes: dict[str, Any] = {"db.system.name": url.get_backend_name()}
        self.attributes |= {key: value for key, value in known.items() if value}

    def mark(self) -> Span | None:
        """Return the span of the current request; None if it is not sampled."""
        current = CURRENT.get()
        if current is not None and not current.is_recorded:
            return None
        span = get_current_span()
        return span if span.get_span_context().trace_flags.sampled else None

    def share(self, marks: Sequence[Span | None]) -> None:
        """Let the following statements of this task belong to the requests with these marks."""
        SHARING.set((len(marks), [mark for mark in marks if mark is not None]))

    def record(self, kind: str, statement: str, seconds: float, failure: BaseException | None) -> None:
        """Make the span of a statement that has just ended, if its request is sampled."""
        number, spans = SHARING.get() or (1, None)
        if spans is None:
            span, current = self.mark(), CURRENT.get()
            if span is None or (current is not None and not current.takes_statement(span)):
                return
            spans = [span]
        if spans:
            self.make_span(statement, seconds, failure, spans, number)

    def make_span(
        self, statement: str, seconds: float, failure: BaseException | None, spans: Sequence[Span], number: int
    ) -> None:
        name, described = description(statement)
        end = time.time_ns()
        span = self.tracer.start_span(
            name,
            set_span_in_context(spans[0]),
            SpanKind.CLIENT,
            self.attributes | described | ({SHARED_BY: number} if number > 1 else {}),
            [Link(other.get_span_context()) for other in spans] if number > 1 else (),
            start_time=end - round(seconds * 1e9),
        )
        if failure is not None:
            span.set_attributes(failed(failure))
            span.set_status(StatusCode.ERROR)
        span.end(end)
        for other in spans if number > 1 else ():
            if other.is_recording():
                other.add_link(span.get_span_context())


@lru_cache(MAX_NAMES)
def description(statement: str) -> tuple[str, dict[str, str]]:
    """Return the name of a statement's span, such as `SELECT invoice`, and its attributes."""
    text = without_values(statement)
    first = text.partition(" ")[0].rstrip(";").upper()
    operation = next((end for end in ENDS if text.upper().endswith(end)), first)
    table = None if operation in ENDS else TABLE.search(text)
    name = f"{operation} {table[1].replace(chr(34), '')}" if table else operation
    return name, {"db.operation.name": operation, "db.query.summary": name, "db.query.text": text}


def failed(failure: BaseException) -> dict[str, str]:
    """Return the attributes for a failure: the error code of the database, or the type of the exception."""
    code = getattr(failure, "sqlstate", None) or getattr(failure, "sqlite_errorname", None)
    return {"error.type": code, "db.response.status_code": code} if code else {"error.type": type(failure).__qualname__}
