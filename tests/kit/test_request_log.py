"""The request log: the id of a request, its log line, and the traceback of its failure."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kit import Database, Shutdown, allowing
from kit.server.log_lines import REQUEST_ID, configure_logging
from kit.server.proxies import Proxies
from kit.server.request_log import RequestLog, log
from tests.engines import Client
from tests.kit.exchanges import exchange
from tests.kit.service import client_of, create_runtime, create_service

Output = pytest.CaptureFixture[str]
router = APIRouter(prefix="/faulty", tags=["faulty"], route_class=allowing())


@router.get("/at-once")
async def break_at_once() -> Response:
    raise RuntimeError("an inner secret")


@router.get("/midway")
async def break_midway() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("an inner secret")

    return StreamingResponse(chunks())


@pytest.fixture
async def faulty(database: Database) -> AsyncIterator[Client]:
    """Provide a client of the bookshop, with operations that fail."""
    async with client_of(create_service(create_runtime(database), router)) as client:
        yield client


def log_as_json() -> None:
    """Configure JSON logs. Called in a test, because pytest resets its handlers between fixture and test."""
    configure_logging(as_json=True, level="INFO")


def lines(output: Output) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.readouterr().out.splitlines()]


async def test_every_request_is_one_line_with_its_route_and_id(client: Client, capsys: Output) -> None:
    log_as_json()
    answer = await client.get("/books/7?fields=id", headers={"X-Request-ID": "mine"})
    (line,) = lines(capsys)
    assert (line["method"], line["route"], line["status"]) == ("GET", "/books/{book_id}", 404)
    assert line["request_id"] == answer.headers["X-Request-ID"] == "mine"
    assert line["duration_ms"] >= 0
    assert line["time"].endswith("Z")


async def test_a_path_without_a_route_is_logged_without_it(client: Client, capsys: Output) -> None:
    log_as_json()
    await client.get("/nowhere/%00secret")
    (line,) = lines(capsys)
    assert (line["route"], line["status"]) == (None, 404)
    assert "secret" not in json.dumps(line)


async def test_an_unexpected_exception_is_a_500_without_details_and_its_traceback_is_logged(
    faulty: Client, capsys: Output
) -> None:
    log_as_json()
    answer = await faulty.get("/faulty/at-once")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "inner secret" not in answer.text
    fault, report = lines(capsys)
    assert "inner secret" in fault["exception"]
    assert fault["request_id"] == report["request_id"] == answer.json()["request_id"]
    assert report["status"] == 500


async def test_a_response_that_fails_midway_is_aborted_and_logged(faulty: Client, capsys: Output) -> None:
    log_as_json()
    await faulty.get("/faulty/midway")
    assert "inner secret" in next(line["exception"] for line in lines(capsys) if "exception" in line)


async def test_text_logs_are_readable(client: Client, capsys: Output) -> None:
    configure_logging(as_json=False, level="INFO")
    await client.get("/books/", headers={"X-Request-ID": "0123456789"})
    line = capsys.readouterr().out
    assert " INFO    GET /books/ 200 " in line
    assert line.endswith(" ms  [01234567]\n")


async def test_requests_are_not_logged_at_level_warning(client: Client, capsys: Output) -> None:
    configure_logging(as_json=True, level="WARNING")
    answer = await client.get("/shelves/")
    configure_logging(as_json=True, level="INFO")
    assert answer.status_code == 200
    assert capsys.readouterr().out == ""


async def test_a_line_that_is_logged_outside_of_a_request_has_no_id(capsys: Output) -> None:
    log_as_json()
    REQUEST_ID.set(None)
    log.info("By the way")
    (line,) = lines(capsys)
    assert line["message"] == "By the way"
    assert "request_id" not in line


async def test_other_asgi_events_pass_through() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def silent(*_: Any) -> Any:
        return {}

    proxies = Proxies("", "", lambda _: False)
    await RequestLog(inner, Shutdown(0, 0), lambda _: None, proxies, lambda app: app)(
        {"type": "lifespan"}, silent, silent
    )
    assert seen == ["lifespan"]


async def test_a_disconnect_is_no_unexpected_exception(database: Database, capsys: Output) -> None:
    service = create_service(create_runtime(database), public=["POST /uploads"])

    @service.post("/uploads")
    async def upload(request: Request) -> int:
        return len(await request.body())

    log_as_json()
    await exchange(service, "POST", "/uploads", body=b"half", is_cut_off=True)
    (line,) = lines(capsys)
    assert (line["route"], line["level"], "exception" in line) == ("/uploads", "INFO", False)


async def test_trailers_of_a_response_reach_the_server(database: Database, capsys: Output) -> None:
    async def with_trailers(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"all"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    service = create_service(create_runtime(database), public=["MOUNT /raw"])
    service.mount("/raw", with_trailers)
    log_as_json()
    result = await exchange(service, "GET", "/raw/thing")
    assert (result.status, result.messages[-1]["headers"]) == (200, [(b"x-sum", b"1")])
    assert [line["status"] for line in lines(capsys)] == [200]


async def test_the_log_says_in_one_line_what_nobody_expected(faulty: Client, capsys: Output) -> None:
    log_as_json()
    answer = await faulty.get("/faulty/at-once")
    assert "secret" not in answer.text
    first = next(line for line in lines(capsys) if line["level"] == "ERROR")
    assert first["message"] == "Unexpected exception: RuntimeError: an inner secret"
    assert first["request_id"] == answer.headers["X-Request-ID"]
