"""Exception handlers of the application get the failures that the kit would answer by a problem."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

from kit import Batch, Many, OnError, Service, Session, create_many
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitBox, HabitBoxCreate

KEY = {"Idempotency-Key": "k"}


def answering(service: FastAPI, kind: Any, status: int = 400, *, is_async: bool = True) -> None:
    """Add an exception handler that answers with the class of the exception."""

    def answer(_: Request, failure: Exception) -> JSONResponse:
        return JSONResponse({"failure": type(failure).__name__}, status)

    async def answer_async(request: Request, failure: Exception) -> JSONResponse:
        return answer(request, failure)

    service.add_exception_handler(kind, answer_async if is_async else answer)


def add_operations(router: APIRouter) -> None:
    @router.post("/boxes", status_code=201)
    async def create_box(new: HabitBoxCreate, session: Session) -> None:
        session.add(HabitBox.model_validate(new))
        await session.flush()

    @router.post("/boxes/bulk", status_code=201, response_model=None)
    async def create_boxes(new: Batch[HabitBoxCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitBox)


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("kind", [IntegrityError, SQLAlchemyError])
async def test_a_violated_constraint_has_the_handler_of_its_class(
    router: APIRouter, new_service: Any, kind: Any, *, is_async: bool
) -> None:
    add_operations(router)
    answering(service := new_service(router), kind, is_async=is_async)
    async with client_of(service) as client:
        assert (await client.post("/boxes", json={"name": "a"})).status_code == 201
        failed = await client.post("/boxes", json={"name": "a"})
        many = await client.post("/boxes/bulk", json=[{"name": "b"}, {"name": "a"}])
    assert (failed.status_code, failed.json()) == (400, {"failure": "IntegrityError"})
    assert (many.status_code, many.json()) == (400, {"failure": "IntegrityError"})


@pytest.mark.parametrize("kind", [ValueError, Exception, 500])
async def test_the_problem_is_the_default_without_a_handler(router: APIRouter, new_service: Any, kind: Any) -> None:
    add_operations(router)
    answering(service := new_service(router), kind)
    async with client_of(service) as client:
        assert (await client.post("/boxes", json={"name": "a"})).status_code == 201
        failed = await client.post("/boxes", json={"name": "a"})
    assert (failed.status_code, failed.json()["type"]) == (409, "urn:problem:taken")


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_the_answer_to_a_violated_constraint_is_replayed(router: APIRouter, new_service: Any) -> None:
    add_operations(router)
    answering(service := new_service(router), IntegrityError, 409)
    async with client_of(service) as client:
        assert (await client.post("/boxes", json={"name": "a"})).status_code == 201
        first, again = [await client.post("/boxes", json={"name": "a"}, headers=KEY) for _ in range(2)]
    assert first.json() == again.json() == {"failure": "IntegrityError"}
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_the_handler_is_called_after_the_last_attempt(router: APIRouter, new_service: Any) -> None:
    calls: list[int] = []

    @router.post("/boxes")
    async def write(session: Session) -> None:
        calls.append(1)
        raise StaleDataError

    answering(service := new_service(router), StaleDataError)
    async with client_of(service) as client:
        assert (await client.post("/boxes")).json() == {"failure": "StaleDataError"}
    assert len(calls) == 4


async def test_a_problem_of_the_application_is_left_alone(router: APIRouter, new_service: Any) -> None:
    @router.post("/boxes")
    async def write(session: Session) -> None:
        try:
            session.add_all([HabitBox(name="a"), HabitBox(name="a")])
            await session.flush()
        except IntegrityError as failure:
            raise HTTPException(418, "Twice.") from failure

    answering(service := new_service(router), IntegrityError)
    async with client_of(service) as client:
        assert (await client.post("/boxes")).status_code == 418


@pytest.mark.parametrize("body", [b"{", b'{"name": "a", "name": "a"}', b"\xff"])
async def test_a_body_that_is_not_json_has_the_handler_of_invalid_requests(
    router: APIRouter, new_service: Any, body: bytes
) -> None:
    add_operations(router)
    service: Service = new_service(router)

    @service.exception_handler(RequestValidationError)
    async def answer(_: Request, failure: RequestValidationError) -> JSONResponse:
        return JSONResponse([error["type"] for error in failure.errors()], 400)

    async with client_of(service) as client:
        headers = {"Content-Type": "application/json"}
        assert (await client.post("/boxes", content=body, headers=headers)).json() == ["json_invalid"]
        keyed = await client.post("/boxes", content=body, headers=headers | KEY)
    assert keyed.json() == ["json_invalid"]
