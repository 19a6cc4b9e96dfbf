"""Tracer provider of OpenTelemetry: samples requests, names traces as log lines do, and sends spans in batches."""

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
"""The longest time for the last spans to be sent when the service stops; the others are lost."""
MAX_LENGTH = 4096
"""The largest number of characters of an attribute, as of a long path, unless a variable sets it."""
OUTPUT, PARSERS = "opentelemetry", ("opentelemetry.trace", "opentelemetry.baggage")
"""The loggers of OpenTelemetry, and those that log headers of clients which are not valid."""
LENGTHS = ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")


class Provider(TracerProvider):
    """Makes the spans of a process, and sends them while its service runs."""

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
        """Send spans during this block, and the last of them at its end."""
        self.sending.start()
        try:
            yield
        finally:
            await to_thread.run_sync(self.sending.stop)


def named_by_environment(name: str) -> dict[str, str | bool | int | float]:
    """Return the name of the service, if the environment does not have it. Of `Resource.create`, arguments win."""
    is_named = given("OTEL_SERVICE_NAME") or "service.name=" in given("OTEL_RESOURCE_ATTRIBUTES")
    return {} if is_named else {"service.name": name}


def chosen_sampler() -> Sampler:
    """Return the sampler of the variables."""
    name, part = sampler()
    samplers = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF}
    plain = name.removeprefix("parentbased_")
    root = samplers.get(plain) or TraceIdRatioBased(float(part))
    return root if plain == name else ParentBased(root)


def bound_of_roots() -> int | None:
    """Return the bound below which trace ids are recorded, as the sampler compares them; None if it does not."""
    name, part = sampler()
    return TraceIdRatioBased.get_bound_for_rate(float(part)) if name in BY_RATIO else None


class TraceIds(RandomIdGenerator):
    """Generates the ids of traces: for the span of a request the one that its log line already has."""

    def generate_trace_id(self) -> int:
        current = CURRENT.get()
        if current is None or current.has_span:
            return super().generate_trace_id()
        return current.trace_id


class Sending(SpanProcessor):
    """Sends spans in batches, by a thread, between `start` and `stop`; others are dropped. It never waits for it."""

    def __init__(self, endpoint: str | None) -> None:
        self.endpoint = endpoint
        self.batches: BatchSpanProcessor | None = None

    def start(self) -> None:
        if self.batches is None:
            log_failures()
            self.batches = BatchSpanProcessor(OTLPSpanExporter(endpoint=self.endpoint))

    def stop(self) -> None:
        """Send the last spans. A collector that does not answer delays this by `STOP_SECONDS` at most."""
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
    """Write failures of the exporter to the log of the service, unless they are logged elsewhere."""
    for writer in writers:
        if not logging.getLogger(OUTPUT).hasHandlers():
            writer.serve(logging.getLogger(OUTPUT))
    for name in PARSERS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.ERROR)
