"""Fixtures of the traces' tests: a collector, and the bookshop with traces, with and without shortcuts."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from kit import Database, Service
from kit.http.traces import TRACERS
from kit.tracing import install
from kit.tracing.provider import Provider
from tests.engines import Client
from tests.kit.service import FAST_PATH, client_of, create_runtime, create_service
from tests.kit.tracing.collector import Collector, Sent, collecting

ONE_SPAN = {"operation_spans": False}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be set or traced before and after each test."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "FASTAPI_OTEL"))]:
        monkeypatch.delenv(name)
    yield
    TRACERS.clear()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.undo()
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(
    params=[pytest.param(False, marks=pytest.mark.untraced), True] if FAST_PATH else [False],
    ids=lambda fast: "fast" if fast else "plain",
)
def traced(
    request: pytest.FixtureRequest, database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """Provide the bookshop with all of its requests traced."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    return trace_bookshop(database, collector.url, fast=request.param)


def trace_bookshop(database: Database, url: str, *, fast: bool = FAST_PATH) -> Service:
    service = create_service(create_runtime(database), fast=fast, telemetry=ONE_SPAN)
    install(service, "library", url)
    return service


class Reader:
    """A client of the bookshop, and the spans of its requests."""

    def __init__(self, service: Service, client: Client, collector: Collector) -> None:
        self.service, self.client, self.collector = service, client, collector

    async def flush(self) -> None:
        provider = trace.get_tracer_provider()
        assert isinstance(provider, Provider)
        assert await asyncio.to_thread(provider.force_flush)

    async def statements(self) -> list[Sent]:
        await self.flush()
        return self.collector.statements()

    async def requests(self) -> list[Sent]:
        await self.flush()
        return self.collector.requests()


@pytest.fixture
async def reader(traced: Service, collector: Collector) -> AsyncIterator[Reader]:
    """Provide a client of the traced bookshop."""
    async for reader in reading(traced, collector):
        yield reader


async def reading(service: Service, collector: Collector) -> AsyncIterator[Reader]:
    async with service.companions[-1](), client_of(service) as client:
        yield Reader(service, client, collector)
