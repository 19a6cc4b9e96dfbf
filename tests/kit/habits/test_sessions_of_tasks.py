"""Tasks that a handler leaves running: the session of the request refuses them once the request has ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import APIRouter
from sqlmodel import col, func, select

from kit import Database, ReadSession, Session
from kit.auth.checked_sessions import SessionEnded
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitItem

Use = Callable[[Any], Awaitable[object]]


async def add_and_commit(session: Any) -> None:
    session.add(HabitItem(name="late"))
    await session.commit()


async def add_and_flush(session: Any) -> None:
    session.add(HabitItem(name="late"))
    await session.flush()


async def insert_all(session: Any) -> None:
    await session.insert_all([HabitItem(name="late"), HabitItem(name="later")])


async def count(session: Any) -> None:
    await session.scalar(select(func.count(col(HabitItem.id))))


async def get(session: Any) -> None:
    await session.get(HabitItem, 1)


async def connect(session: Any) -> None:
    await session.connection()


@pytest.fixture
def left() -> dict[str, Any]:
    """The session that a handler has left to a task."""
    return {}


@pytest.mark.parametrize("use", [add_and_commit, add_and_flush, insert_all, count, get, connect])
async def test_the_session_of_a_request_that_wrote_refuses_a_task_after_it(
    router: APIRouter, serve: Serve, database: Database, left: dict[str, Any], use: Use
) -> None:
    @router.post("/items", status_code=201)
    async def create(session: Session) -> str:
        session.add(HabitItem(name="early"))
        left["session"] = session
        return "created"

    client = await serve(router)
    assert (await client.post("/items")).status_code == 201
    with pytest.raises(SessionEnded, match=r"open a session: `async with app\.runtime\.database\.write\(\)"):
        await use(left["session"])
    await left["session"].close()
    async with database.write() as session, asyncio.timeout(5):  # SQLite's connection for writing is free
        assert list(await session.scalars(select(HabitItem.name))) == ["early"]


@pytest.mark.parametrize("use", [count, get, connect])
async def test_the_session_of_a_request_that_read_refuses_a_task_after_it(
    router: APIRouter, serve: Serve, left: dict[str, Any], use: Use
) -> None:
    @router.get("/items/{ident}")
    async def read(ident: int, session: ReadSession) -> bool:
        left["session"] = session
        return await session.get(HabitItem, ident) is None

    client = await serve(router)
    assert (await client.get("/items/1")).json() is True
    with pytest.raises(SessionEnded):
        await use(left["session"])


async def test_the_session_of_a_request_that_failed_refuses_a_task_after_it(
    router: APIRouter, serve: Serve, left: dict[str, Any]
) -> None:
    @router.post("/items")
    async def create(session: Session) -> str:
        left["session"] = session
        raise RuntimeError

    client = await serve(router)
    assert (await client.post("/items")).status_code == 500
    with pytest.raises(SessionEnded):
        await add_and_commit(left["session"])


async def test_a_handler_may_close_its_session_and_use_it_again(
    router: APIRouter, serve: Serve, names: Callable[[], Awaitable[list[str]]]
) -> None:
    @router.post("/items", status_code=201)
    async def create(session: Session) -> str:
        async with session:
            session.add(HabitItem(name="first"))
            await session.commit()
        session.add(HabitItem(name="second"))
        return "created"

    client = await serve(router)
    assert (await client.post("/items")).status_code == 201
    assert await names() == ["first", "second"]
