"""Traced requests: the outermost middleware sets the trace id of a request, and decides whether it is sampled.

    received --sampled--> FastAPI makes the span of the request
             --sampled, but refused before FastAPI--> `RefusedRequests.record` makes the span at the end
             --not sampled--> no layer makes a span; requests to other services say so in their headers

The sampler decides by the trace id, so FastAPI's later call of it returns the same decision.
"""

import random
import time
from typing import Any

from opentelemetry import propagate
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace.sampling import Decision, Sampler, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.traces import TRACE_ID, UNRECORDED
from kit.server.log_writer import SentResponse
from kit.server.trace_context import TRACE_HEADER, trace_id_of
from kit.tracing.current import CURRENT, CurrentRequest

NO_PARENT = Context()
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TraceLayer:
    """The ASGI middleware around all others of a traced service."""

    def __init__(self, app: ASGIApp, sampler: Sampler, bound: int | None = None) -> None:
        self.app, self.sampler, self.bound = app, sampler, bound
        """`bound`: requests without a parent are sampled if their trace id is less; None to call the sampler."""
        self.fields = frozenset(name.lower().encode() for name in propagate.get_global_textmap().fields)
        """The names of the headers with the client's trace context, such as `traceparent`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or TRACE_ID in scope:  # an outer service has done it
            await self.app(scope, receive, send)
            return
        current = self.current_for(scope)
        scope[TRACE_ID] = f"{current.trace_id:032x}"
        token = CURRENT.set(current)
        context = None if current.is_recorded else attach(unrecorded(current))
        try:
            await self.app(scope, receive, send)
        finally:
            CURRENT.reset(token)
            if context is not None:
                detach(context)

    def current_for(self, scope: Scope) -> CurrentRequest:
        """Return the trace id of a request, its parent, and whether it is sampled. Sets `UNRECORDED` in the scope."""
        if self.fields.isdisjoint(dict(scope["headers"])):
            parent, trace_id = NO_PARENT, random.getrandbits(128) or 1
        else:
            parent = self.parent_of(scope)
            remote = get_current_span(parent).get_span_context()
            trace_id = remote.trace_id or random.getrandbits(128) or 1
        if parent is NO_PARENT and self.bound is not None:
            is_recorded = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self.bound
        else:
            decision = self.sampler.should_sample(parent, trace_id, scope["type"], SpanKind.SERVER)
            is_recorded = decision.decision is Decision.RECORD_AND_SAMPLE
        if not is_recorded:
            scope[UNRECORDED] = True
        return CurrentRequest(scope, trace_id, parent, is_recorded)

    def parent_of(self, scope: Scope) -> Context:
        """Return the trace context in the headers of the client.

        A `traceparent` that is invalid or repeated is removed from the scope, together with `tracestate`, because
        FastAPI reads them too, and OpenTelemetry would take the first of several.
        """
        lines = [value for name, value in scope["headers"] if name == TRACE_HEADER]
        if lines and trace_id_of(lines) is None:
            scope["headers"] = [line for line in scope["headers"] if line[0] not in (TRACE_HEADER, b"tracestate")]
        carrier: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            if name in self.fields:
                carrier.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return propagate.extract(carrier, NO_PARENT)


def unrecorded(current: CurrentRequest) -> Context:
    """Return the context of a request that is not sampled, in which no span is recorded."""
    return set_span_in_context(Unrecorded(current), current.parent)


class Unrecorded(NonRecordingSpan):
    """The span of a request that is not sampled. Its ids are made on first use, by a request to another service."""

    def __init__(self, current: CurrentRequest) -> None:
        self.current = current
        self.known: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        if self.known is None:
            remote = get_current_span(self.current.parent).get_span_context()
            span_id = remote.span_id or random.getrandbits(64) or 1
            self.known = SpanContext(self.current.trace_id, span_id, False, trace_state=remote.trace_state)
        return self.known


class RefusedRequests:
    """Makes the spans of requests that were refused before they reached FastAPI."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer

    def record(self, sent: SentResponse) -> None:
        """Make the span of the current request, if it is sampled and has none. Called after its response was sent."""
        current = CURRENT.get()
        if current is None or not current.is_recorded or current.has_span:
            return
        _, method, _, status, seconds, *_ = sent
        end, known = time.time_ns(), method if method in METHODS else "_OTHER"
        attributes: dict[str, Any] = {"http.request.method": known, "url.path": current.scope["path"]}
        attributes |= {"url.scheme": current.scope.get("scheme", "http"), "http.response.status_code": status}
        name = "HTTP" if known == "_OTHER" else known
        start = end - round(seconds * 1e9)
        span = self.tracer.start_span(name, current.parent, SpanKind.SERVER, attributes, start_time=start)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end(end)
