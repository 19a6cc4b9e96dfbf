"""Installation: adds traces to a service."""

from functools import partial

from opentelemetry import trace

from kit.http.traces import TRACERS
from kit.refusals import refuse_start
from kit.server.service import Service
from kit.tracing.provider import Provider, bound_of_roots
from kit.tracing.requests import RefusedRequests, TraceLayer
from kit.tracing.statements import StatementSpans

INSTRUMENTATION = "kit"
"""The instrumentation scope of the spans of this package."""


def install(service: Service, name: str, endpoint: str) -> None:
    """Install tracing for a service, and set the global tracer provider, which FastAPI and other libraries use.

    Exits the process with a message if a provider of another library is set.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, (Provider, trace.ProxyTracerProvider)):
        refuse_start("Another TracerProvider is set already: unset OTEL_EXPORTER_OTLP_ENDPOINT, or do not set it.")
    if not isinstance(provider, Provider):
        provider = Provider(name, service.version, endpoint)
        trace.set_tracer_provider(provider)
    tracer = provider.get_tracer(INSTRUMENTATION)
    service.surround(partial(TraceLayer, sampler=provider.sampler, bound=bound_of_roots()))
    service.observers.append(RefusedRequests(tracer).record)
    service.companions.append(provider.running)
    TRACERS[:] = [StatementSpans(tracer, service.runtime.database.url)]
