"""What can be seen of a request: its id, its line in the log, and its fault."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kit.operations.endpoint import Endpoint
from kit.server.request_log import REQUEST_ID, Observe, configure_logging, log
from tests.conftest import Client
from tests.people import client_of

Output = pytest.CaptureFixture[str]


@pytest.fixture
def faulty(app: FastAPI) -> Any:
    """The application, with routes that break."""
    router = APIRouter(prefix="/faulty", tags=["faulty"], route_class=Endpoint)

    @router.get("/at-once")
    async def break_at_once() -> Response:
        raise RuntimeError("an inner secret")

    @router.get("/midway")
    async def break_midway() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("an inner secret")

        return StreamingResponse(chunks())

    app.router.routes.extend(router.routes)
    app.middleware_stack = None  # it knows the routes, and is made anew
    yield app
    for route in router.routes:
        app.router.routes.remove(route)
    app.middleware_stack = None


def log_as_json() -> None:
    """To be called in a test, not in a fixture: pytest puts its own handlers back between the two."""
    configure_logging(as_json=True, level="INFO")


def lines(output: Output) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.readouterr().out.splitlines()]


async def test_every_request_is_one_line_with_its_route_and_id(client: Client, capsys: Output) -> None:
    log_as_json()
    answer = await client.get("/heroes/7?fields=id", headers={"X-Request-ID": "mine"})
    (line,) = lines(capsys)
    assert (line["method"], line["route"], line["status"]) == ("GET", "/heroes/{hero_id}", 404)
    assert line["request_id"] == answer.headers["X-Request-ID"] == "mine"
    assert line["duration_ms"] >= 0
    assert line["time"].endswith("Z")


async def test_a_path_without_a_route_is_logged_without_it(client: Client, capsys: Output) -> None:
    log_as_json()
    await client.get("/nowhere/%00secret")
    (line,) = lines(capsys)
    assert (line["route"], line["status"]) == (None, 404)
    assert "secret" not in json.dumps(line)


async def test_an_unforeseen_fault_is_a_500_that_tells_nothing_and_a_traceback_under_its_id(
    faulty: FastAPI, capsys: Output
) -> None:
    log_as_json()
    async with client_of(faulty) as client:
        answer = await client.get("/faulty/at-once")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "inner secret" not in answer.text
    fault, report = lines(capsys)
    assert "inner secret" in fault["exception"]
    assert fault["request_id"] == report["request_id"] == answer.json()["request_id"]
    assert report["status"] == 500


async def test_an_answer_that_breaks_midway_is_broken_off_and_logged(faulty: FastAPI, capsys: Output) -> None:
    log_as_json()
    async with client_of(faulty) as client:
        await client.get("/faulty/midway")
    assert "inner secret" in lines(capsys)[0]["exception"]


async def test_for_people_the_lines_are_readable(client: Client, capsys: Output) -> None:
    configure_logging(as_json=False, level="INFO")
    await client.get("/heroes/", headers={"X-Request-ID": "0123456789"})
    line = capsys.readouterr().out
    assert " INFO    GET /heroes/ 200 " in line
    assert line.endswith(" ms  [01234567]\n")


async def test_where_only_warnings_are_logged_a_request_is_none(client: Client, capsys: Output) -> None:
    configure_logging(as_json=True, level="WARNING")
    answer = await client.get("/teams/")
    configure_logging(as_json=True, level="INFO")
    assert answer.status_code == 200
    assert capsys.readouterr().out == ""


async def test_what_is_logged_outside_of_a_request_has_no_id(capsys: Output) -> None:
    log_as_json()
    REQUEST_ID.set(None)
    log.info("By the way")
    (line,) = lines(capsys)
    assert line["message"] == "By the way"
    assert "request_id" not in line


async def test_what_is_no_request_passes_by() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def silent(*_: Any) -> Any:
        return {}

    await Observe(inner)({"type": "lifespan"}, silent, silent)
    assert seen == ["lifespan"]
