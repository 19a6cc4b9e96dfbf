"""The variables of OpenTelemetry: they work as it specifies them, or are refused at start with a sentence."""

import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from kit import Database
from kit.tracing import install, variables
from kit.tracing.provider import Provider, chosen_sampler, named_by_environment
from kit.tracing.variables import is_on, refusal
from tests.kit.service import create_runtime, create_service
from tests.kit.tracing.collector import Collector
from tests.kit.tracing.conftest import reading, trace_bookshop

URL = "http://localhost:4318"


@pytest.mark.parametrize(
    ("endpoint", "given", "expected"),
    [
        ("", {}, False),
        (URL, {}, True),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": URL}, True),
        (URL, {"OTEL_TRACES_EXPORTER": "none"}, False),
        (URL, {"OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_an_endpoint_switches_traces_on(
    endpoint: str, given: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert is_on(endpoint) is expected


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "must be a URL, as in http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "must be a URL"),
        ("OTEL_TRACES_EXPORTER", "console", "must be otlp, or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "must be http/protobuf: collectors listen for it at port 4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "must be http/protobuf"),
        ("FASTAPI_OTEL_AUTO_CONFIGURE", "true", "must be off"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "must be one of always_on, always_off, traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "half", "must be a number from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "must be a number from 0 to 1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[", "must be a URL"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:x", "must be a URL"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "must be a whole number above 0, as in 1000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "must be a whole number above 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100", "must be at least OTEL_BSP_MAX_EXPORT_BATCH_SIZE, which is 512"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "must be a whole number, as in 1000"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none", "must be a file, and there is no file /none"),
    ],
)
def test_what_cannot_work_is_refused(name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert sentence in str(refusal(URL))


def test_numbers_and_files_that_can_work_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"OTEL_BSP_MAX_QUEUE_SIZE": "512", "OTEL_SPAN_EVENT_COUNT_LIMIT": "0", "OTEL_ATTRIBUTE_COUNT_LIMIT": ""}
    for name, value in {**given, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": __file__}.items():
        monkeypatch.setenv(name, value)
    assert refusal(URL) is None


async def test_the_packages_that_are_missing_are_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "find_spec", lambda name: None if name == "opentelemetry.sdk" else object())
    with pytest.raises(SystemExit, match="needs packages that are not installed: make tracing, or unset it"):
        trace_bookshop(database, URL)


async def test_without_an_endpoint_no_package_of_the_extra_is_needed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "kit.tracing.installation", raising=False)
    service = create_service(create_runtime(database))
    layers = service.surrounded
    install(service, "library", "")
    assert service.surrounded is layers
    assert not service.observers
    assert not service.companions


async def test_another_provider_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    with pytest.raises(SystemExit, match="Another TracerProvider is set already"):
        trace_bookshop(database, URL)


async def test_services_of_one_process_share_the_provider(database: Database) -> None:
    trace_bookshop(database, URL)
    first = trace.get_tracer_provider()
    trace_bookshop(database, URL)
    assert isinstance(first, Provider)
    assert trace.get_tracer_provider() is first


@pytest.mark.parametrize(
    ("name", "part", "description"),
    [
        ("", "", "ParentBased{root:TraceIdRatioBased{0.01}"),
        ("", "0.5", "ParentBased{root:TraceIdRatioBased{0.5}"),
        ("parentbased_traceidratio", "", "ParentBased{root:TraceIdRatioBased{1.0}"),
        ("traceidratio", "0.25", "TraceIdRatioBased{0.25}"),
        ("always_on", "", "AlwaysOnSampler"),
        ("parentbased_always_off", "", "ParentBased{root:AlwaysOffSampler"),
    ],
)
def test_the_sampler_is_the_one_of_the_variables(
    name: str, part: str, description: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", part)
    assert chosen_sampler().get_description().startswith(description)


@pytest.mark.parametrize(
    "named", [("OTEL_SERVICE_NAME", "orders"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=orders,deployment=a")]
)
async def test_the_environment_names_the_service_and_the_headers_of_the_exporter(
    named: tuple[str, str], database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = dict([named]) | {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=secret"}
    settings |= {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    async for reader in reading(trace_bookshop(database, ""), collector):
        await reader.client.get("/shelves/")
        await reader.flush()
    assert collector.resource["service.name"] == "orders"
    assert collector.headers[0]["x-key"] == "secret"


def test_the_service_has_its_own_name_otherwise() -> None:
    assert named_by_environment("library") == {"service.name": "library"}
