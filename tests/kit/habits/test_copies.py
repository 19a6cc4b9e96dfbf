"""Copies of rows: `model_copy`, and those of the module `copy`."""

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import PrivateAttr
from sqlalchemy.ext.mutable import MutableDict
from sqlmodel import JSON, Field, select

from kit import Database, Session
from tests.kit.habits.items import HabitAuthor, HabitBook, HabitEntity, HabitItem, HabitItemRead


class HabitNotes(HabitEntity, table=True):
    __tablename__ = "habit_notes"

    notes: dict[str, Any] = Field(default={}, sa_type=MutableDict.as_mutable(JSON))
    _seen: list[str] = PrivateAttr(default=["once"])


COPIES: dict[str, Callable[[Any], Any]] = {
    "model_copy": lambda row: row.model_copy(update={"id": None, "name": "copy"}),
    "deep": lambda row: row.model_copy(update={"id": None, "name": "copy"}, deep=True),
    "copy": lambda row: row.copy(update={"id": None, "name": "copy"}),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
async def test_a_copy_is_stored_as_another_row(router: APIRouter, serve: Any, names: Any, make: Any) -> None:
    @router.post("/copies", response_model=list[HabitItemRead])
    async def create(session: Session) -> list[HabitItem]:
        row = HabitItem(name="cup", size=3)
        session.add(row)
        await session.flush()
        row.size = 4
        other = make(row)
        session.add(other)
        await session.flush()
        return [row, other]

    first, second = (await (await serve(router)).post("/copies")).json()
    assert first["id"] != second["id"]
    assert (second["name"], second["size"], second["version"]) == ("copy", 4, 1)
    assert await names() == ["cup", "copy"]


async def test_a_copy_of_a_new_row_is_another_row(database: Database, names: Any) -> None:
    async with database.write() as session, session.begin():
        row = HabitItem(name="cup")
        session.add_all([row, copy(row), deepcopy(row)])
    assert await names() == ["cup", "cup", "cup"]


async def test_a_copy_keeps_the_values_before_a_change(database: Database) -> None:
    async with database.write() as session, session.begin():
        row = HabitItem(name="cup")
        session.add(row)
        await session.flush()
        before = row.model_copy()
        row.name = "mug"
        await session.flush()
        assert (before.id, before.name, before.version, row.version) == (row.id, "cup", 1, 2)
        before.name = "other"
    assert row.name == "mug"


async def test_a_copy_has_single_related_rows_and_no_lists(database: Database) -> None:
    async with database.write() as session, session.begin():
        author = HabitAuthor(name="Ann", books=[HabitBook(title="one")])
        session.add(author)
        await session.flush()
        await session.refresh(author, ["count_of_books"])
        second = author.books[0].model_copy(update={"id": None, "title": "two"})
        other = author.model_copy(update={"id": None, "name": "Bob"})
        session.add_all([second, other])
        assert (second.author, other.books, other.count_of_books) == (author, [], 1)  # type: ignore[attr-defined]
    async with database.read() as reads:
        assert set(await reads.exec(select(HabitBook.title, HabitBook.author_id))) == {
            ("one", author.id),
            ("two", author.id),
        }


async def test_a_change_within_a_mutable_value_of_a_copy_is_noticed(database: Database) -> None:
    async with database.write() as session, session.begin():
        row = HabitNotes(notes={"a": 1})
        row._seen.append("twice")
        other = copy(row)
        session.add_all([row, other])
        await session.flush()
        other.notes["b"] = 2
        other._seen = ["again"]
    async with database.read() as reads:
        rows = (await reads.exec(select(HabitNotes).order_by("id"))).all()
        assert [each.notes for each in rows] == [{"a": 1}, {"a": 1, "b": 2}]
    assert row._seen == ["once", "twice"]


def test_a_copy_of_a_new_row_has_no_values_that_the_database_computes() -> None:
    copied = copy(HabitAuthor(id=1, name="Ann"))
    assert (copied.id, copied.name, "count_of_books" in vars(copied)) == (1, "Ann", False)
