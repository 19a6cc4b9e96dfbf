"""Several tasks that use one session at the same time, as those of `asyncio.gather`."""

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter
from sqlmodel import col, func, select

from kit import Database, ReadSession, Session
from kit.database.concurrent_use import ConcurrentUse
from tests.kit.habits.items import HabitItem

COUNT = select(func.count(col(HabitItem.id)))


async def test_concurrent_reads_of_one_session_wait_for_each_other(
    router: APIRouter, serve: Any, database: Database
) -> None:
    @router.get("/counts")
    async def read(session: ReadSession) -> list[int | None]:
        return list(await asyncio.gather(*(session.scalar(COUNT) for _ in range(3))))

    answer = await (await serve(router)).get("/counts")
    assert answer.json() == [0, 0, 0]
    assert "connections: 0" in database.reader.pool.status()


async def test_concurrent_use_of_a_session_that_writes_is_refused(
    router: APIRouter, serve: Any, names: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.post("/items", response_model=None)
    async def create(session: Session) -> None:
        session.add(HabitItem(name="cup"))
        await asyncio.gather(session.flush(), session.scalar(COUNT))

    @router.post("/cups")
    async def add(session: Session) -> None:
        session.add(HabitItem(name="later"))

    client = await serve(router)
    assert (await client.post("/items")).status_code == 500
    assert ConcurrentUse.__name__ in caplog.text
    assert (await client.post("/cups")).is_success  # the connection was given back
    assert await names() == ["later"]


async def test_concurrent_savepoints_are_refused(router: APIRouter, serve: Any, names: Any) -> None:
    async def add(session: Session) -> None:
        async with session.begin_nested():
            session.add(HabitItem(name="cup"))

    @router.post("/items", response_model=None)
    async def create(session: Session) -> None:
        await asyncio.gather(add(session), add(session))

    client = await serve(router)
    assert [(await client.post("/items")).status_code for _ in range(2)] == [500, 500]
    assert await names() == []


async def test_tasks_with_sessions_of_their_own_read_concurrently(
    router: APIRouter, serve: Any, database: Database
) -> None:
    async def read() -> int | None:
        async with database.read() as session:
            return await session.scalar(COUNT)

    @router.post("/counts")
    async def counts(session: Session) -> list[int | None]:
        return list(await asyncio.gather(read(), read()))

    assert (await (await serve(router)).post("/counts")).json() == [0, 0]
