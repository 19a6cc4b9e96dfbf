"""Background tasks run after the COMMIT and the response, and not at all if the COMMIT fails."""

from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from kit import Database, Session
from tests.kit.habits.items import NO_BOX, HabitItem


@pytest.fixture
def seen(names: Any) -> tuple[list[Any], Any]:
    """Provide the rows that a background task has read, and such a task."""
    log: list[Any] = []

    async def look() -> None:
        log.append(await names())

    return log, look


async def test_tasks_of_a_parameter_run_after_the_commit(router: APIRouter, serve: Any, seen: Any) -> None:
    log, look = seen

    @router.post("/items")
    async def create(tasks: BackgroundTasks, session: Session) -> dict[str, str]:
        session.add(HabitItem(name="cup"))
        tasks.add_task(look)
        return {"is": "done"}

    client = await serve(router)
    answer = await client.post("/items")
    assert answer.json() == {"is": "done"}
    assert log == [["cup"]]


async def test_a_task_on_a_response_runs_after_the_commit(router: APIRouter, serve: Any, seen: Any) -> None:
    log, look = seen

    @router.post("/items")
    async def create(session: Session) -> JSONResponse:
        session.add(HabitItem(name="cup"))
        return JSONResponse({}, background=BackgroundTask(look))

    client = await serve(router)
    await client.post("/items")
    assert log == [["cup"]]


async def test_tasks_of_a_dependency_run_too(router: APIRouter, serve: Any, seen: Any) -> None:
    log, look = seen

    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(look)

    @router.get("/items", dependencies=[Depends(later)])
    async def read() -> list[str]:
        return []

    client = await serve(router)
    await client.get("/items")
    assert log == [[]]


async def test_no_task_runs_if_the_commit_failed(router: APIRouter, serve: Any, seen: Any) -> None:
    log, look = seen

    @router.post("/items")
    async def create(tasks: BackgroundTasks, session: Session) -> dict[str, str]:
        session.add(HabitItem(name="cup", box_id=NO_BOX))
        tasks.add_task(look)
        return {"is": "done"}

    client = await serve(router)
    answer = await client.post("/items")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:problem:missing-reference"
    assert log == []


async def test_tasks_run_with_an_idempotency_key_and_not_for_a_replay(router: APIRouter, serve: Any, seen: Any) -> None:
    log, look = seen

    @router.post("/items")
    async def create(tasks: BackgroundTasks, session: Session) -> dict[str, str]:
        session.add(HabitItem(name="cup"))
        tasks.add_task(look)
        return {"is": "done"}

    client = await serve(router)
    await client.post("/items", headers={"Idempotency-Key": "a"})
    assert log == [["cup"]]


async def test_writes_of_a_task_on_the_session_of_its_request_are_committed(
    router: APIRouter, serve: Any, names: Any
) -> None:
    @router.post("/items")
    async def create(tasks: BackgroundTasks, session: Session) -> dict[str, str]:
        tasks.add_task(add, session)
        return {}

    async def add(session: Any) -> None:
        session.add(HabitItem(name="late"))

    client = await serve(router)
    await client.post("/items")
    assert await names() == ["late"]


async def test_a_task_can_open_a_session(router: APIRouter, serve: Any, names: Any, database: Database) -> None:
    async def add() -> None:
        async with database.write() as session, session.begin():
            session.add(HabitItem(name="own"))

    @router.post("/items", status_code=202)
    async def create(tasks: BackgroundTasks) -> None:
        tasks.add_task(add)

    client = await serve(router)
    answer = await client.post("/items")
    assert answer.status_code == 202
    assert await names() == ["own"]
