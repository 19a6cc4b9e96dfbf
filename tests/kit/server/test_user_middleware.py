"""Middleware, exception handlers and a lifespan of the user: inside of request id, log and problems."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.server.log_lines import REQUEST_ID
from tests.kit.server.small import asking, small_service

Call = Callable[[Request], Awaitable[Response]]


class TeapotError(Exception):
    """An exception of the user's domain."""


def failing_router() -> APIRouter:
    router = APIRouter()

    @router.get("/fine")
    async def fine(request: Request) -> dict[str, Any]:
        return {"id": request.state.request_id, "user": getattr(request.state, "user", None)}

    @router.get("/teapot")
    async def teapot() -> None:
        raise TeapotError("short and stout")

    @router.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken pipe")

    @router.get("/status/{code}")
    async def status(code: int) -> None:
        raise HTTPException(code, "By the handler.")

    return router


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info]


async def test_middleware_sees_the_request_id_and_may_change_the_response() -> None:
    service = small_service(failing_router(), auth=False)
    seen = []

    @service.middleware("http")
    async def note(request: Request, call_next: Call) -> Response:
        seen.append((request.state.request_id, REQUEST_ID.get()))
        request.state.user = "natasha"
        response = await call_next(request)
        response.headers["X-Mine"] = "yes"
        return response

    async with asking(service) as client:
        answer = await client.get("/fine", headers={"X-Request-ID": "abc"})
    assert (answer.headers["X-Mine"], answer.headers["X-Request-ID"]) == ("yes", "abc")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (answer.json(), seen) == ({"id": "abc", "user": "natasha"}, [("abc", "abc")])


@pytest.mark.parametrize("given", [{}, {"X-Request-ID": "not acceptable"}, {"X-Request-ID": ""}])
async def test_a_new_request_id_is_in_the_headers_of_the_request(given: dict[str, str]) -> None:
    service = small_service(failing_router(), auth=False)
    seen: list[str] = []

    @service.middleware("http")
    async def note(request: Request, call_next: Call) -> Response:
        seen.extend(request.headers.getlist("X-Request-ID"))
        return await call_next(request)

    async with asking(service) as client:
        answer = await client.get("/fine", headers=given)
    assert [answer.headers["X-Request-ID"]] == seen == [answer.json()["id"]]


@pytest.mark.parametrize(("own", "logged"), [("mine-1", "mine-1"), ("two words", "abc")])
async def test_a_request_id_that_middleware_sets_is_kept_and_logged(
    own: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = small_service(failing_router(), auth=False)
    ids: dict[str, str | None] = {}
    caplog.handler.addFilter(lambda record: ids.update({record.levelname: REQUEST_ID.get()}) is None)

    @service.middleware("http")
    async def identify(request: Request, call_next: Call) -> Response:
        response = await call_next(request)
        response.headers["X-Request-ID"] = own
        return response

    async with asking(service) as client:
        answer = await client.get("/fine", headers={"X-Request-ID": "abc"})
    assert answer.headers.get_list("X-Request-ID") == [own]
    assert ids["INFO"] == logged


async def test_an_exception_in_middleware_is_a_500_with_the_request_id_and_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("in the middleware")

    service = small_service()
    service.add_middleware(Failing)
    async with asking(service) as client:
        answer = await client.get("/health/live", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert (answer.json()["request_id"], answer.headers["X-Request-ID"]) == ("abc", "abc")
    assert "in the middleware" not in answer.text
    assert len(tracebacks(caplog)) == 1


async def test_middleware_may_respond_itself() -> None:
    service = small_service()

    @service.middleware("http")
    async def refuse(request: Request, call_next: Call) -> Response:
        return JSONResponse({"closed": True}, 418)

    async with asking(service) as client:
        answer = await client.get("/health/live")
    assert (answer.status_code, answer.json()) == (418, {"closed": True})
    assert "X-Request-ID" in answer.headers


async def test_a_handler_for_every_exception_is_called_and_the_log_has_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = small_service(failing_router(), auth=False)

    @service.exception_handler(Exception)
    async def sorry(request: Request, failure: Exception) -> Response:
        return JSONResponse({"sorry": str(failure)}, 500)

    async with asking(service) as client:
        answer = await client.get("/broken", headers={"X-Request-ID": "abc"})
    assert (answer.status_code, answer.json()) == (500, {"sorry": "broken pipe"})
    assert answer.headers["X-Request-ID"] == "abc"
    assert len(tracebacks(caplog)) == 1


async def test_an_unexpected_exception_has_one_traceback_and_reaches_a_test_that_asks_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = small_service(failing_router(), auth=False)
    async with asking(service, raises=True) as client:
        with pytest.raises(RuntimeError, match="broken pipe"):
            await client.get("/broken")
    assert len(tracebacks(caplog)) == 1


async def test_under_a_server_an_exception_that_was_answered_is_not_raised_again() -> None:
    service = small_service(failing_router(), auth=False)
    service.shutdown.has_server = True
    async with asking(service, raises=True) as client:
        assert (await client.get("/broken")).status_code == 500


async def test_a_custom_exception_class_may_have_a_handler() -> None:
    service = small_service(failing_router(), auth=False)

    @service.exception_handler(TeapotError)
    def answer_teapot(request: Request, failure: TeapotError) -> Response:
        return JSONResponse({"teapot": str(failure)}, 418)

    async with asking(service) as client:
        answer = await client.get("/teapot")
    assert (answer.status_code, answer.json()) == (418, {"teapot": "short and stout"})


async def test_a_status_has_its_handler_also_where_no_route_matches() -> None:
    service = small_service(failing_router(), auth=False)

    @service.exception_handler(404)
    async def missing(request: Request, failure: HTTPException) -> Response:
        return JSONResponse({"missing": request.url.path}, 404)

    async with asking(service) as client:
        assert (await client.get("/status/404")).json() == {"missing": "/status/404"}
        assert (await client.get("/nowhere")).json() == {"missing": "/nowhere"}
        assert (await client.get("/status/409")).json()["detail"] == "By the handler."


async def test_handlers_that_are_given_to_the_service_come_before_its_own() -> None:
    async def answer(request: Request, failure: Exception) -> Response:
        return JSONResponse({"kind": type(failure).__name__}, 400)

    service = small_service(failing_router(), auth=False, exception_handlers={Exception: answer, 409: answer})
    async with asking(service) as client:
        assert (await client.get("/broken")).json() == {"kind": "RuntimeError"}
        assert (await client.get("/status/409")).json() == {"kind": "HTTPException"}
        assert (await client.get("/status/404")).json()["type"] == "urn:problem:not-found"


async def test_an_unknown_path_is_a_404() -> None:
    async with asking(small_service()) as client:
        answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()["detail"]) == (404, "The resource does not exist.")


async def test_a_handler_that_fails_itself_leaves_a_500(caplog: pytest.LogCaptureFixture) -> None:
    service = small_service(failing_router(), auth=False)

    @service.exception_handler(Exception)
    async def worse(request: Request, failure: Exception) -> Response:
        raise LookupError("worse")

    async with asking(service) as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:problem:internal")
    assert len(tracebacks(caplog)) == 1


def test_a_custom_lifespan_runs_inside_of_the_services() -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("begun")
        yield {"greeting": "hello"}
        events.append("ended")

    async def on_start() -> None:
        events.append("started")

    service = small_service(auth=False, lifespan=lifespan, on_start=on_start)

    @service.get("/greeting")
    async def greeting(request: Request) -> str:
        return str(request.state.greeting)

    with TestClient(service) as client:
        assert client.get("/greeting").json() == "hello"
    assert events == ["started", "begun", "ended"]


@pytest.mark.filterwarnings("ignore:.*generator function lifespans are deprecated")
@pytest.mark.parametrize("is_async", [True, False])
def test_a_lifespan_may_be_a_generator_without_a_decorator(is_async: bool) -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"greeting": "hello"}

    def not_async(app: FastAPI) -> Iterator[dict[str, str]]:
        yield {"greeting": "hello"}

    with TestClient(small_service(auth=False, lifespan=lifespan if is_async else not_async)) as client:
        assert client.app_state == {"greeting": "hello"}
