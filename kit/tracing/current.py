"""The current request: its trace id, and whether it is recorded, which is decided before FastAPI makes its span."""

from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import Span
from starlette.types import Scope

MAX_STATEMENTS = 200
"""The largest number of spans of statements in one request."""
LEFT_OUT = "kit.statements_left_out"
"""The attribute of a request's span with the number of statements that have no span."""


@dataclass(slots=True)
class CurrentRequest:
    """A request. `parent` is the context of OpenTelemetry that it came with."""

    scope: Scope
    trace_id: int
    parent: Context
    is_recorded: bool
    has_span: bool = False
    statements: int = 0

    def begin(self, span: Span) -> None:
        """Note that the request has its span."""
        self.has_span = True
        if self.scope.get("method") == "HEAD":  # FastAPI serves it as a GET
            span.set_attribute("http.request.method_original", "HEAD")

    def takes_statement(self, span: Span) -> bool:
        """Return whether the request may have another span of a statement; otherwise count it in its own span."""
        self.statements += 1
        if self.statements > MAX_STATEMENTS and span.is_recording():
            span.set_attribute(LEFT_OUT, self.statements - MAX_STATEMENTS)
        return self.statements <= MAX_STATEMENTS


CURRENT: ContextVar[CurrentRequest | None] = ContextVar("current_request", default=None)
