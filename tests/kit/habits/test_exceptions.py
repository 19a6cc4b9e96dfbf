"""Exceptions: an HTTPException becomes a problem, and handlers for other exceptions are called wherever they occur."""

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from kit import Service, Session
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitItem

KEY = {"Idempotency-Key": "k"}


class OutOfStock(Exception):  # noqa: N818  named as users do
    pass


class SoldOut(OutOfStock):
    pass


async def test_an_http_exception_is_a_problem_of_its_status(router: APIRouter, serve: Any) -> None:
    @router.get("/{status}")
    async def read(status: int) -> None:
        raise HTTPException(status, "Because.", {"X-Why": "because"})

    client = await serve(router)
    for status, kind in ((400, "bad-request"), (402, "payment-required"), (404, "not-found"), (418, "im-a-teapot")):
        answer = await client.get(f"/{status}")
        assert (answer.status_code, answer.headers["x-why"]) == (status, "because")
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["type"], problem["status"], problem["detail"]) == (f"urn:problem:{kind}", status, "Because.")


@pytest.mark.parametrize("detail", [{"a": [1, None]}, ["a", {"b": 2}]])
async def test_a_detail_that_is_not_text_is_kept_in_another_member(router: APIRouter, serve: Any, detail: Any) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        raise StarletteHTTPException(409, detail)

    client = await serve(router)
    problem = (await client.post("/a")).json()
    assert (problem["type"], problem["detail"], problem["information"]) == ("urn:problem:conflict", "Conflict.", detail)


@pytest.mark.parametrize(
    ("raised", "where", "detail"),
    [
        ([{"loc": ["query", "q"], "msg": "No."}], ("query", "q"), "No."),
        ([{"loc": "q", "type": "own"}], ("q", ""), "The input is invalid"),
        ([{"msg": ["No.", 1]}], ("body", "#"), "['No.', 1]"),
        (["No."], ("body", "#"), "No."),
        ("No.", ("body", "#"), "No."),
    ],
)
async def test_errors_that_a_handler_has_made_are_a_422(
    router: APIRouter, serve: Any, raised: Any, where: tuple[str, str], detail: str
) -> None:
    @router.get("/a")
    async def read() -> None:
        raise RequestValidationError(raised)

    answer = await (await serve(router)).get("/a")
    assert answer.status_code == 422
    assert [(error["in"], error["pointer"], error["detail"]) for error in answer.json()["errors"]] == [(*where, detail)]


async def test_an_exception_of_a_dependency_is_a_problem_too(router: APIRouter, serve: Any) -> None:
    async def refuse() -> None:
        raise HTTPException(403, "Not you.")

    @router.get("/a", dependencies=[Depends(refuse)])
    async def read() -> None: ...

    client = await serve(router)
    assert (await client.get("/a")).json()["detail"] == "Not you."


@pytest.mark.parametrize("place", ["handler", "dependency"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_the_handler_of_an_own_exception_answers(
    router: APIRouter, new_service: Any, names: Any, place: str, is_async: bool
) -> None:
    def fail(where: str) -> None:
        if where == place:
            raise SoldOut("cups")

    @router.post("/a", dependencies=[Depends(lambda: fail("dependency"))])
    async def write(session: Session) -> None:
        session.add(HabitItem(name="cup"))
        fail("handler")

    def answer(request: Request, failure: Exception) -> JSONResponse:
        return JSONResponse({"sold out": str(failure)}, 410)

    async def answer_async(request: Request, failure: Exception) -> JSONResponse:
        return answer(request, failure)

    service = new_service(router)
    service.add_exception_handler(OutOfStock, answer_async if is_async else answer)
    async with client_of(service) as client:
        result = await client.post("/a")
    assert (result.status_code, result.json()) == (410, {"sold out": "cups"})
    assert await names() == []


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_handler_of_an_own_exception_answers_for_a_plain_operation(
    router: APIRouter, new_service: Any, is_async: bool
) -> None:
    @router.get("/a")
    async def read() -> None:
        raise SoldOut("cups")

    def answer(request: Request, failure: Exception) -> JSONResponse:
        return JSONResponse({"sold out": str(failure)}, 410)

    async def answer_async(request: Request, failure: Exception) -> JSONResponse:
        return answer(request, failure)

    service = new_service(router)
    service.add_exception_handler(OutOfStock, answer_async if is_async else answer)
    async with client_of(service) as client:
        result = await client.get("/a")
    assert (result.status_code, result.json()) == (410, {"sold out": "cups"})


async def test_handlers_of_the_kit_can_be_replaced(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read(number: int) -> None:
        raise HTTPException(404, "gone")

    service: Service = new_service(router)

    @service.exception_handler(RequestValidationError)
    async def invalid(request: Request, failure: RequestValidationError) -> PlainTextResponse:
        return PlainTextResponse(f"{len(failure.errors())} wrong", 422)

    @service.exception_handler(404)
    async def missing(request: Request, failure: HTTPException) -> PlainTextResponse:
        return PlainTextResponse(f"missing: {failure.detail}", 404)

    async with client_of(service) as client:
        assert (await client.get("/a?number=x")).text == "1 wrong"
        assert (await client.get("/a?number=1")).text == "missing: gone"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("status", [404, 409])
async def test_a_failure_caused_by_the_data_is_replayed(router: APIRouter, serve: Any, names: Any, status: int) -> None:
    calls: list[int] = []

    @router.post("/a")
    async def write(session: Session) -> None:
        calls.append(1)
        session.add(HabitItem(name="cup"))
        await session.flush()
        raise HTTPException(status, "No.", {"X-Why": "because"})

    client = await serve(router)
    first, again = await client.post("/a", headers=KEY), await client.post("/a", headers=KEY)
    assert first.status_code == again.status_code == status
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-why"] == "because"
    assert calls == [1]
    assert await names() == []


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_the_answer_to_an_own_exception_is_replayed(router: APIRouter, new_service: Any, names: Any) -> None:
    calls: list[int] = []

    @router.post("/a")
    async def write(session: Session) -> None:
        calls.append(1)
        session.add(HabitItem(name="cup"))
        await session.flush()
        raise SoldOut("cups")

    service = new_service(router)
    service.add_exception_handler(OutOfStock, lambda request, failure: JSONResponse({"sold out": str(failure)}, 409))
    async with client_of(service) as client:
        first, again = await client.post("/a", headers=KEY), await client.post("/a", headers=KEY)
    assert first.status_code == again.status_code == 409
    assert first.json() == again.json() == {"sold out": "cups"}
    assert calls == [1]
    assert await names() == []


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("status", [400, 403, 422, 500, 503])
async def test_other_failures_release_the_key(router: APIRouter, serve: Any, names: Any, status: int) -> None:
    calls: list[int] = []

    @router.post("/a")
    async def write(session: Session) -> str:
        calls.append(1)
        session.add(HabitItem(name="cup"))
        await session.flush()
        if len(calls) == 1:
            raise HTTPException(status, "No.")
        return "done"

    client = await serve(router)
    assert (await client.post("/a", headers=KEY)).status_code == status
    assert (await client.post("/a", headers=KEY)).json() == "done"
    assert await names() == ["cup"]


async def test_an_unexpected_exception_is_a_500_without_details(
    router: APIRouter, serve: Any, names: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.post("/a")
    async def write(session: Session) -> None:
        session.add(HabitItem(name="cup"))
        await session.flush()
        raise ZeroDivisionError("the inner reason")

    client = await serve(router)
    answer = await client.post("/a")
    assert answer.status_code == 500
    assert "inner reason" not in answer.text
    assert "the inner reason" in caplog.text
    assert await names() == []


async def test_a_response_that_is_returned_for_a_failure_is_a_success_for_the_session(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/a")
    async def write(session: Session) -> JSONResponse:
        session.add(HabitItem(name="attempt"))
        return JSONResponse({}, 403)

    client = await serve(router)
    assert (await client.post("/a")).status_code == 403
    assert await names() == ["attempt"]


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_content_has_none(router: APIRouter, serve: Any, status: int) -> None:
    @router.get("/a")
    async def read() -> None:
        raise HTTPException(status, headers={"X-Why": "because"})

    answer = await (await serve(router)).get("/a")
    assert (answer.status_code, answer.content, answer.headers["x-why"]) == (status, b"", "because")
    assert answer.headers.get("content-length", "0") == "0"
    assert "content-type" not in answer.headers


class OwnResponse(PlainTextResponse):
    """A response that fails before its first part, or after it."""

    is_late = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.is_late:
            await super().__call__(scope, receive, send)
        raise HTTPException(418, "No tea.")


@pytest.mark.parametrize("answer", [FileResponse("/nowhere"), OwnResponse("tea")])
async def test_a_response_that_cannot_be_sent_is_an_exception(
    router: APIRouter, new_service: Any, answer: Response
) -> None:
    @router.get("/a")
    async def read() -> Any:
        return answer

    service = new_service(router)
    service.add_exception_handler(RuntimeError, lambda request, failure: PlainTextResponse("gone", 418))
    async with client_of(service) as client:
        result = await client.get("/a")
        assert (result.status_code, result.text == "gone") == (418, isinstance(answer, FileResponse))


async def test_an_unexpected_exception_while_a_response_is_sent_is_a_500(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read() -> Any:
        return FileResponse("/nowhere")

    async with client_of(new_service(router)) as client:
        answer = await client.get("/a")
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:problem:internal")


async def test_a_response_that_has_begun_has_no_other(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read() -> Any:
        late = OwnResponse("tea")
        late.is_late = True
        return late

    async with httpx.AsyncClient(transport=httpx.ASGITransport(new_service(router)), base_url="http://test") as client:
        with pytest.raises(RuntimeError, match="already started"):
            await client.get("/a")


async def test_the_handler_for_500_is_for_unexpected_exceptions_only(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read(is_expected: bool) -> None:
        raise HTTPException(500, "own") if is_expected else KeyError

    service = new_service(router)
    service.add_exception_handler(500, lambda request, failure: PlainTextResponse("handled", 500))
    async with client_of(service) as client:
        assert (await client.get("/a?is_expected=true")).json()["detail"] == "own"
        assert (await client.get("/a?is_expected=false")).text == "handled"


async def test_a_handler_may_raise_an_exception_that_has_a_handler(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read() -> None:
        raise OutOfStock

    async def handle(request: Request, failure: Exception) -> Any:
        raise HTTPException(410, "Sold out.")

    service = new_service(router)
    service.add_exception_handler(OutOfStock, handle)
    async with client_of(service) as client:
        assert (await client.get("/a")).json()["detail"] == "Sold out."
