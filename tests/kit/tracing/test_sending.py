"""How spans are sent: beside the requests, which no collector delays, and within a bounded time at the end."""

import logging
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from kit import Database
from kit.server.log_lines import configure_logging
from kit.tracing import provider
from kit.tracing.provider import Provider, Sending, log_failures
from tests.engines import on_sqlite
from tests.kit.tracing.collector import Collector, collecting
from tests.kit.tracing.conftest import reading, trace_bookshop
from tests.live import free_port, serving

pytestmark = pytest.mark.no_fast_path

APP = "tests.kit.tracing.served:app"


async def test_the_last_spans_are_sent_when_the_service_stops(
    database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    service = trace_bookshop(database, collector.url)
    for number in (1, 2):  # a service may be started again
        async for reader in reading(service, collector):
            await reader.client.get("/shelves/")
        assert len(collector.requests()) == number
    assert await after_the_end(service) == 200
    assert len(collector.requests()) == 2


async def after_the_end(service: Any) -> int:
    """Return the status of a request after the end: its spans are dropped."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://test") as client:
        return (await client.get("/shelves/")).status_code


@pytest.mark.parametrize("fault", ["slow", "away", "failing"])
async def test_a_collector_that_does_not_answer_delays_nothing(
    fault: str, database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setattr(provider, "STOP_SECONDS", 0.3)
    collector.delay, collector.status = (30, 200) if fault == "slow" else (0, 503)
    url = f"http://127.0.0.1:{free_port()}" if fault == "away" else collector.url
    began = time.monotonic()
    async for reader in reading(trace_bookshop(database, url), collector):
        for _ in range(20):
            assert (await reader.client.get("/shelves/")).status_code == 200
    assert time.monotonic() - began < 15
    assert fault == "failing" or "could not be sent within 0.3 s" in caplog.text


def test_spans_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    monkeypatch.setattr(provider, "STOP_SECONDS", 0.3)
    with collecting() as collector:
        collector.delay = 1
        sending = Sending(f"{collector.url}/v1/traces")
        sending.start()
        sending.start()  # a second service of the process
        tracer = Provider("library", "1", collector.url)
        tracer.add_span_processor(sending)
        monkeypatch.setattr(tracer, "sampler", ALWAYS_ON)
        for number in range(100):
            tracer.get_tracer("own").start_span(f"{number}").end()
        sending.stop()
        sending.stop()
    assert sending.force_flush()


def test_long_attributes_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    span: Any = Provider("library", "1", "http://localhost").get_tracer("own").start_span("own")
    span.set_attribute("long", "x" * 100_000)
    assert len(span.attributes["long"]) == 4096


def test_failures_of_the_exporter_are_in_the_log_of_the_service(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("opentelemetry", "opentelemetry.trace", "opentelemetry.baggage"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", False)  # pytest has handlers above it
    configure_logging(as_json=True, level="INFO")
    for _ in range(2):
        log_failures()
    logging.getLogger("opentelemetry.exporter").warning("no answer")
    logging.getLogger("opentelemetry.trace.span").warning("a header of a client")
    assert capsys.readouterr().out.count('"message": "no answer"') == 1
    assert logging.getLogger("opentelemetry.trace").level == logging.ERROR
    configure_logging(as_json=True, level="INFO")


async def visit(url: str) -> None:
    """Send a request on a connection of its own."""
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/pid")).status_code == 200


@pytest.mark.untraced
@on_sqlite
async def test_each_of_several_workers_sends_its_spans(new_database: Any, log_file: Path, collector: Collector) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER": "always_on"}
    url = await new_database()
    with serving(url, log_file, "--workers", "2", app=APP, **settings) as server:
        for _ in range(40):
            await visit(server.url)
        assert server.stop() == 0
    spans = [span for span in collector.requests() if span.name == "GET /pid"]
    assert len(spans) == 40
    resources = {part.resource.SerializeToString() for sent in collector.received for part in sent.resource_spans}
    assert len(resources) == 2  # each worker has a `service.instance.id`


@pytest.mark.untraced
@on_sqlite
async def test_a_service_that_is_killed_or_stopped_ends_soon_without_its_collector(
    new_database: Any, log_file: Path
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_TRACES_SAMPLER": "always_on"}
    with serving(await new_database(), log_file, app=APP, **settings) as server:
        await visit(server.url)
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 15
    assert "The last spans could not be sent" in server.log
