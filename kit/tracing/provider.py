"""The tracer provider: samples requests, uses the trace ids of the log, and exports spans in batches."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from kit.server.log_writer import writers
from kit.tracing.current import CURRENT
from kit.tracing.variables import BY_RATIO, TRACES_ENDPOINT, given, sampler

log = logging.getLogger("kit")
STOP_SECONDS = 2.0
"""The timeout for exporting the last spans when the service stops. Spans that are left then are lost."""
MAX_LENGTH = 4096
"""The maximum length of an attribute in characters, unless one of `LENGTHS` is set."""
OUTPUT, PARSERS = "opentelemetry", ("opentelemetry.trace", "opentelemetry.baggage")
"""The root logger of OpenTelemetry, and the loggers that warn of invalid headers of clients."""
LENGTHS = ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")


class Provider(TracerProvider):
    """The tracer provider of a process, which exports spans while its service runs."""

    def __init__(self, name: str, version: str, endpoint: str) -> None:
        attributes = {"service.name": name, "service.version": version}
        super().__init__(
            sampler=chosen_sampler(),
            resource=Resource(attributes).merge(Resource.create(named_by_environment(name))),
            shutdown_on_exit=False,
            id_generator=TraceIds(),
            span_limits=SpanLimits(max_attribute_length=None if given(*LENGTHS) else MAX_LENGTH),
        )
        self.sending = Sending(None if given(TRACES_ENDPOINT) else f"{endpoint.removesuffix('/')}/v1/traces")
        self.add_span_processor(self.sending)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export spans during the block, and the last ones at its end."""
        self.sending.start()
        try:
            yield
        finally:
            await to_thread.run_sync(self.sending.stop)


def named_by_environment(name: str) -> dict[str, str | bool | int | float]:
    """Return the resource attribute with the name of the service, unless environment variables set it."""
    is_named = given("OTEL_SERVICE_NAME") or "service.name=" in given("OTEL_RESOURCE_ATTRIBUTES")
    return {} if is_named else {"service.name": name}


def chosen_sampler() -> Sampler:
    """Return the sampler that the environment variables name."""
    name, part = sampler()
    samplers = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF}
    plain = name.removeprefix("parentbased_")
    root = samplers.get(plain) or TraceIdRatioBased(float(part))
    return root if plain == name else ParentBased(root)


def bound_of_roots() -> int | None:
    """Return the bound with which a ratio sampler compares trace ids; None for other samplers.

    With it `TraceLayer` decides on requests without a parent itself, which is faster than to call the sampler.
    """
    name, part = sampler()
    return TraceIdRatioBased.get_bound_for_rate(float(part)) if name in BY_RATIO else None


class TraceIds(RandomIdGenerator):
    """Generates trace ids. The span of a request gets the trace id that its log lines have."""

    def generate_trace_id(self) -> int:
        current = CURRENT.get()
        if current is None or current.has_span:
            return super().generate_trace_id()
        return current.trace_id


class Sending(SpanProcessor):
    """Exports spans in batches, by a thread, between `start` and `stop`. Other spans are dropped. It never blocks."""

    def __init__(self, endpoint: str | None) -> None:
        self.endpoint = endpoint
        self.batches: BatchSpanProcessor | None = None

    def start(self) -> None:
        if self.batches is None:
            log_failures()
            self.batches = BatchSpanProcessor(OTLPSpanExporter(endpoint=self.endpoint))

    def stop(self) -> None:
        """Export the last spans, within `STOP_SECONDS`."""
        batches, self.batches = self.batches, None
        if batches is not None:
            thread = threading.Thread(target=batches.shutdown, name="last spans", daemon=True)
            thread.start()
            thread.join(STOP_SECONDS)
            if thread.is_alive():
                log.warning("The last spans could not be sent within %s s.", STOP_SECONDS)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        current = CURRENT.get()
        if span.kind is SpanKind.SERVER and current is not None:
            current.begin(span)

    def on_end(self, span: ReadableSpan) -> None:
        if self.batches is not None:
            self.batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batches is None or self.batches.force_flush(timeout_millis)


def log_failures() -> None:
    """Write OpenTelemetry's log to that of the service, unless it has a handler; of invalid headers only errors."""
    for writer in writers:
        if not logging.getLogger(OUTPUT).hasHandlers():
            writer.serve(logging.getLogger(OUTPUT))
    for name in PARSERS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.ERROR)
