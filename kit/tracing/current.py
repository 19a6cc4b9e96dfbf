"""The current request: its trace id, and whether it is sampled, which is decided before FastAPI makes its span."""

from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.trace import Span
from starlette.types import Scope

MAX_STATEMENTS = 200
"""The maximum number of statements of a request that get a span."""
LEFT_OUT = "kit.statements_left_out"
"""The attribute of a request's span for the number of its statements without a span."""


@dataclass(slots=True)
class CurrentRequest:
    """A request. `parent` is the OpenTelemetry context in its headers; `is_recorded`, whether it is sampled."""

    scope: Scope
    trace_id: int
    parent: Context
    is_recorded: bool
    has_span: bool = False
    statements: int = 0

    def begin(self, span: Span) -> None:
        """Store that FastAPI has made the span of the request."""
        self.has_span = True
        if self.scope.get("method") == "HEAD":  # FastAPI serves it as a GET
            span.set_attribute("http.request.method_original", "HEAD")

    def takes_statement(self, span: Span) -> bool:
        """Count a statement, and return whether it gets a span. The request's span gets the number of the others."""
        self.statements += 1
        if self.statements > MAX_STATEMENTS and span.is_recording():
            span.set_attribute(LEFT_OUT, self.statements - MAX_STATEMENTS)
        return self.statements <= MAX_STATEMENTS


CURRENT: ContextVar[CurrentRequest | None] = ContextVar("current_request", default=None)
