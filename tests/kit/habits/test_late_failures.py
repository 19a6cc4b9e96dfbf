"""Failures outside of a handler: dependencies after their `yield`, background tasks, and results of statements."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import select

from kit import Database, ReadSession, Session
from tests.kit.exchanges import exchange
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitItem


@pytest.fixture
async def two_items(database: Database) -> None:
    async with database.write() as session:
        session.add_all([HabitItem(name="same"), HabitItem(name="same")])
        await session.commit()


@pytest.mark.usefixtures("two_items")
@pytest.mark.parametrize("name", ["same", "none"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_one_raises_a_500_for_no_row_and_for_several_rows(
    router: APIRouter, serve: Any, name: str, method: str
) -> None:
    @router.get("/items")
    async def read(session: ReadSession) -> str:
        return (await session.scalars(select(HabitItem).where(HabitItem.name == name))).one().name

    @router.post("/items")
    async def write(session: Session) -> str:
        session.add(HabitItem(name="undone"))
        return (await session.scalars(select(HabitItem).where(HabitItem.name == name))).one().name

    client = await serve(router)
    answer = await client.request(method, "/items")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:problem:internal")


@pytest.mark.parametrize("scope", ["function", "request"])
async def test_a_dependency_that_fails_after_its_yield(
    router: APIRouter, new_service: Any, names: Any, scope: Any
) -> None:
    async def failing() -> AsyncIterator[None]:
        yield
        raise HTTPException(409, "late")

    @router.post("/items", dependencies=[Depends(failing, scope=scope)])
    async def create(session: Session) -> str:
        session.add(HabitItem(name="cup"))
        return "done"

    result = await exchange(new_service(router), "POST", "/items")
    assert result.status == (409 if scope == "function" else 200)
    assert await names() == ([] if scope == "function" else ["cup"])


async def test_a_failing_background_task_keeps_the_response(router: APIRouter, new_service: Any, names: Any) -> None:
    async def fail() -> None:
        raise HTTPException(418)

    @router.post("/items")
    async def create(tasks: BackgroundTasks, session: Session) -> str:
        session.add(HabitItem(name="cup"))
        tasks.add_task(fail)
        return "done"

    result = await exchange(new_service(router), "POST", "/items")
    assert (result.status, result.body) == (200, b'"done"')
    assert isinstance(result.failure, HTTPException | RuntimeError)
    assert await names() == ["cup"]


async def test_handlers_of_the_user_for_a_status_and_for_invalid_requests_are_called(
    router: APIRouter, new_service: Any
) -> None:
    async def not_found(request: Request, failure: HTTPException) -> JSONResponse:
        return JSONResponse({"missing": request.url.path}, 404)

    def invalid(_: Request, failure: RequestValidationError) -> JSONResponse:
        return JSONResponse({"errors": len(failure.errors()), "body": failure.body}, 400)

    @router.get("/items/{item_id}")
    async def read(item_id: int, needed: int) -> None:
        raise HTTPException(404, "There is none.")

    service = new_service(router)
    service.add_exception_handler(404, not_found)
    service.add_exception_handler(RequestValidationError, invalid)
    async with client_of(service) as client:
        assert (await client.get("/items/1?needed=1")).json() == {"missing": "/items/1"}
        assert (await client.get("/nowhere")).json() == {"missing": "/nowhere"}
        answer = await client.get("/items/x")
    assert (answer.status_code, answer.json()) == (400, {"errors": 2, "body": None})


async def test_a_dependency_that_ends_before_the_response_may_write(router: APIRouter, serve: Any, names: Any) -> None:
    async def audited(session: Session) -> AsyncIterator[None]:
        yield
        session.add(HabitItem(name="audit"))

    @router.post("/items", dependencies=[Depends(audited, scope="function")])
    async def create(session: Session, fails: bool = False) -> str:
        session.add(HabitItem(name="cup"))
        if fails:
            raise HTTPException(409)
        return "done"

    client = await serve(router)
    assert (await client.post("/items?fails=true")).status_code == 409
    assert (await client.post("/items")).json() == "done"
    assert sorted(await names()) == ["audit", "cup"]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_what_a_dependency_refuses_before_the_response_is_undone(
    router: APIRouter, serve: Any, names: Any, database: Database, headers: dict[str, str]
) -> None:
    async def audited() -> AsyncIterator[None]:
        yield
        raise HTTPException(409, "The audit refuses it.")

    @router.post("/items", dependencies=[Depends(audited, scope="function")])
    async def create(session: Session) -> str:
        session.add(HabitItem(name="cup"))
        return "done"

    @router.post("/nothing", dependencies=[Depends(audited, scope="function")])
    async def nothing() -> str:
        return "done"

    client = await serve(router)
    for path in ("/items", "/nothing", "/items"):
        answer = await client.post(path, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (409, "The audit refuses it.")
    assert await names() == []
    pools: list[Any] = [database.reader.pool, database.writer.pool]
    assert [pool.checkedout() for pool in pools] == [0, 0]


async def test_a_failure_of_the_database_before_such_a_dependency_has_ended_is_not_tried_again(
    router: APIRouter, serve: Any
) -> None:
    calls: list[str] = []

    async def audited() -> AsyncIterator[None]:
        yield
        calls.append("ended")

    @router.api_route("/items", methods=["GET"], dependencies=[Depends(audited, scope="function")])
    async def read(session: ReadSession) -> None:
        calls.append("read")
        raise StaleDataError

    answer = await (await serve(router)).get("/items")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:problem:conflict")
    assert calls in (["read"], ["read", "ended"])


async def test_background_tasks_go_on_after_such_a_dependency(router: APIRouter, serve: Any, names: Any) -> None:
    async def audited(session: Session) -> AsyncIterator[None]:
        yield
        session.add(HabitItem(name="audit"))

    @router.post("/items", dependencies=[Depends(audited, scope="function")])
    async def create(session: Session, tasks: BackgroundTasks) -> None:
        session.add(HabitItem(name="cup"))
        tasks.add_task(add, session)

    async def add(session: Session) -> None:
        assert sorted(await names()) == ["audit", "cup"]
        session.add(HabitItem(name="later"))

    assert (await (await serve(router)).post("/items")).status_code == 200
    assert sorted(await names()) == ["audit", "cup", "later"]
