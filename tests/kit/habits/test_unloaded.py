"""Values that no query has loaded: what may be written without a load, and what the log says where a load is needed."""

import gc
from typing import Any

import pytest
from fastapi import APIRouter

from kit import Database, Session, found
from tests.kit.habits.items import HabitAuthor, HabitBook


@pytest.fixture(autouse=True)
async def stored(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add(HabitAuthor(id=1, name="Ann", books=[HabitBook(id=1, title="One")]))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_the_log_says_how_to_load_a_list_that_is_replaced(
    router: APIRouter, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.put("/books")
    async def replace(session: Session) -> None:
        author = found(await session.get(HabitAuthor, 1))
        author.books = [HabitBook(title="Two")]

    assert (await (await serve(router)).put("/books")).status_code == 500
    gc.collect()  # the coroutine that was never awaited
    assert "load it before, by `selectinload` in the query, or by `await session.refresh(row, [name])`" in caplog.text


async def test_a_single_related_row_is_written_without_a_load_and_a_list_after_one(
    router: APIRouter, serve: Any, database: Database
) -> None:
    @router.put("/books")
    async def replace(session: Session) -> None:
        author = found(await session.get(HabitAuthor, 1))
        await session.refresh(author, ["books"])
        author.books = [HabitBook(id=2, title="Two")]

    @router.put("/author")
    async def set_author(session: Session) -> None:
        found(await session.get(HabitBook, 2)).author = HabitAuthor(id=2, name="Bob")

    client = await serve(router)
    assert [(await client.put(path)).status_code for path in ("/books", "/author")] == [200, 200]
    async with database.read() as session:
        assert await session.get(HabitBook, 1) is None  # `cascade_delete=True`
        assert found(await session.get(HabitBook, 2)).author_id == 2
