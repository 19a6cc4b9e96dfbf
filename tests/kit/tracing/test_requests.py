"""The spans of requests: their names and attributes, the traces they belong to, and those that are not recorded."""

import asyncio
import re
from typing import Any

import pytest
from opentelemetry import trace
from starlette.responses import Response

from kit import Database, Problem
from kit.http.traces import TRACE_ID, UNRECORDED
from kit.tracing.requests import RefusedRequests, TraceLayer
from tests.kit.tracing.collector import Collector
from tests.kit.tracing.conftest import Reader, reading, trace_bookshop

SHELF = {"name": "Maps", "room": "Reading room"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


async def test_a_request_has_one_span_with_the_names_of_http(reader: Reader) -> None:
    answer = await reader.client.post("/shelves/", json=SHELF)
    assert answer.status_code == 201
    (span,) = await reader.requests()
    assert (span.scope, span.name, span.parent, span.failed) == ("fastapi", "POST /shelves/", "", False)
    expected = {"http.request.method": "POST", "http.route": "/shelves/", "url.path": "/shelves/", "url.scheme": "http"}
    assert span.attributes.items() >= (expected | {"http.response.status_code": 201}).items()
    assert reader.collector.resource["service.name"] == "library"


async def test_the_ids_of_a_path_are_not_in_the_name(reader: Reader) -> None:
    await reader.client.get("/shelves/77?fields=id")
    (span,) = await reader.requests()
    assert span.name == "GET /shelves/{shelf_id}"
    assert span.attributes["http.response.status_code"] == 404


async def test_a_head_is_shown_as_the_get_that_it_is_served_as(reader: Reader) -> None:
    await reader.client.head("/shelves/")
    (span,) = await reader.requests()
    assert span.name == "GET /shelves/"
    assert span.attributes["http.request.method_original"] == "HEAD"


async def test_unknown_paths_and_methods_have_few_names(reader: Reader) -> None:
    for number in range(3):
        await reader.client.get(f"/nowhere-{number}")
        await reader.client.request(f"BREW{number}", "/shelves/")
    names = {span.name for span in await reader.requests()}
    assert names <= {"GET", "HTTP", "HTTP /shelves/", "GET /{path}"}


async def test_the_trace_of_the_client_goes_on(reader: Reader) -> None:
    answer = await reader.client.get("/shelves/77", headers={"traceparent": PARENT})
    assert answer.json()["trace_id"] == TRACE
    (span,) = await reader.requests()
    assert (span.trace, span.parent) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")],
        [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("traceparent", "cc" + PARENT[2:] + "-" + 600 * "x"), ("tracestate", "a=b")],
    ],
    ids=["more", "zeros", "twice", "long"],
)
async def test_an_invalid_trace_of_the_client_does_not(reader: Reader, headers: list[tuple[str, str]]) -> None:
    answer = await reader.client.get("/shelves/77", headers=headers)
    (span,) = await reader.requests()
    assert (span.trace, span.parent) == (answer.json()["trace_id"], "")
    assert span.trace != TRACE


async def test_a_trace_of_a_future_version_goes_on(reader: Reader) -> None:
    answer = await reader.client.get("/shelves/77", headers={"traceparent": f"cc{PARENT[2:]}-later"})
    assert answer.json()["trace_id"] == TRACE
    assert [span.trace for span in await reader.requests()] == [TRACE]


async def test_a_client_that_does_not_record_its_trace_has_no_spans_here(reader: Reader) -> None:
    answer = await reader.client.get("/shelves/77", headers={"traceparent": f"{PARENT[:-2]}00"})
    assert answer.json()["trace_id"] == TRACE
    assert await reader.requests() == await reader.statements() == []


async def test_the_log_line_has_the_trace_of_the_request(reader: Reader) -> None:
    answered: list[Any] = []
    reader.service.observers.append(answered.append)
    await reader.client.get("/shelves/")
    (span,) = await reader.requests()
    assert [line[8] for line in answered] == [span.trace]


async def test_no_request_is_recorded_by_default_but_one_of_a_hundred(
    database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = trace_bookshop(database, collector.url)
    ids = iter([1 << 63, 10**15])  # their low 64 bits decide
    monkeypatch.setattr("random.getrandbits", lambda bits: next(ids) if bits == 128 else 5)
    async for reader in reading(service, collector):
        answers = [await reader.client.get("/shelves/77", headers={"x-request-id": "an-id"}) for _ in range(2)]
        assert [answer.json()["trace_id"] for answer in answers] == [f"{1 << 63:032x}", f"{10**15:032x}"]
        assert [span.trace for span in await reader.requests()] == [f"{10**15:032x}"]


async def test_spans_of_a_handler_are_not_recorded_if_the_request_is_not(
    database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    service = trace_bookshop(database, collector.url)

    @service.get("/own", dependencies=[])
    async def own() -> str:
        with trace.get_tracer("own").start_as_current_span("own work") as span:
            return f"{span.get_span_context().trace_id:032x} {span.is_recording()}"

    service.public |= {"GET /own"}
    async for reader in reading(service, collector):
        answer = await reader.client.get("/own", headers={"traceparent": PARENT[:-2] + "00"})
        assert answer.json() == f"{TRACE} False"
        assert re.fullmatch(r"[0-9a-f]{32} False", (await reader.client.get("/own")).json())
        await reader.flush()
    assert collector.spans == []


async def test_a_handler_may_begin_a_trace_of_its_own(reader: Reader) -> None:
    @reader.service.get("/own")
    async def own() -> str:
        with trace.get_tracer("own").start_as_current_span("own work", trace.set_span_in_context(trace.INVALID_SPAN)):
            return "done"

    reader.service.public |= {"GET /own"}
    assert (await reader.client.get("/own")).status_code == 200
    await reader.flush()
    inner, request = reader.collector.spans
    assert inner.name == "own work"
    assert inner.trace != request.trace


async def test_a_request_that_is_refused_before_fastapi_has_a_span_too(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise Problem(503, "No slot is free.", kind="busy")

    monkeypatch.setattr("kit.server.admission.Admission.__call__", refuse)
    answers = [await reader.client.get("/shelves/"), await reader.client.request("BREW", "/shelves/")]
    assert [answer.status_code for answer in answers] == [500, 500]
    spans = await reader.requests()
    assert [(span.name, span.failed) for span in spans] == [("GET", True), ("HTTP", True)]
    assert spans[0].trace == answers[0].json()["trace_id"]
    assert spans[0].attributes["http.response.status_code"] == 500


async def test_a_refusal_that_is_the_clients_fault_is_no_failure(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(layer: Any, scope: Any, receive: Any, send: Any) -> None:
        await Response(status_code=429)(scope, receive, send)

    monkeypatch.setattr("kit.server.admission.Admission.__call__", refuse)
    assert (await reader.client.get("/shelves/")).status_code == 429
    (span,) = await reader.requests()
    assert (span.name, span.failed, span.attributes["http.response.status_code"]) == ("GET", False, 429)


async def test_an_unforeseen_failure_is_one(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.operations.unit_of_work.Unit.finish", lambda *_: 1 / 0)
    assert (await reader.client.get("/shelves/")).status_code == 500
    (span,) = await reader.requests()
    assert span.failed
    assert span.attributes["http.response.status_code"] == 500


async def test_requests_at_the_same_time_have_traces_of_their_own(reader: Reader) -> None:
    answers = await asyncio.gather(*(reader.client.get(f"/shelves/{number}") for number in range(70, 80)))
    traces = {span.trace for span in await reader.requests()}
    assert traces == {answer.json()["trace_id"] for answer in answers}
    assert len(traces) == 10


async def test_only_requests_and_sockets_are_traced_and_once(reader: Reader) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, *_: Any) -> None:
        seen.append(scope)

    layer: Any = TraceLayer(app, reader.service.surrounded.sampler)  # type: ignore[attr-defined]  # it is such a layer
    await layer({"type": "lifespan"}, None, None)
    await layer({"type": "http", "headers": [], TRACE_ID: "from outside"}, None, None)
    await layer({"type": "websocket", "headers": [(b"traceparent", f"{PARENT[:-1]}0".encode())]}, None, None)
    assert [scope.get(TRACE_ID) for scope in seen] == [None, "from outside", TRACE]
    assert [UNRECORDED in scope for scope in seen] == [False, False, True]


async def test_a_request_that_is_not_recorded_has_the_ids_of_its_client(reader: Reader) -> None:
    seen: list[trace.SpanContext] = []

    async def app(*_: Any) -> None:
        seen.extend(trace.get_current_span().get_span_context() for _ in range(2))

    layer: Any = TraceLayer(app, reader.service.surrounded.sampler)  # type: ignore[attr-defined]  # it is such a layer
    await layer({"type": "http", "headers": [(b"traceparent", f"{PARENT[:-1]}0".encode())]}, None, None)
    await layer({"type": "http", "headers": [(b"traceparent", f"{PARENT[:-1]}0".encode())]}, None, None)
    assert seen == [trace.SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=False)] * 4


def test_outside_of_requests_no_span_is_made_for_one() -> None:
    RefusedRequests(trace.NoOpTracer()).record((0, "GET", None, 200, 0, 0, None, "an-id", None))
