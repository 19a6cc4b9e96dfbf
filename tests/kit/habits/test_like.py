"""Comparisons of texts in statements of handlers: upper and lower case count on both databases."""

from typing import Any

import pytest
from sqlmodel import col, select

from kit import Database
from tests.kit.habits.items import HabitItem

NAME = col(HabitItem.name)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (NAME.like("c%"), ["cup"]),
        (NAME.contains("U"), ["CUP"]),
        (NAME.startswith("C"), ["CUP"]),
        (NAME.endswith("p"), ["cup"]),
        (NAME.not_like("c%"), ["CUP"]),
        (NAME.ilike("c%"), ["cup", "CUP"]),
        (NAME.icontains("U"), ["cup", "CUP"]),
    ],
    ids=str,
)
async def test_like_distinguishes_upper_and_lower_case(database: Database, condition: Any, found: list[str]) -> None:
    async with database.write() as session, session.begin():
        session.add_all([HabitItem(name="cup"), HabitItem(name="CUP")])
        assert (await session.exec(select(NAME).where(condition).order_by(col(HabitItem.id)))).all() == found
    async with database.read() as reads:
        assert (await reads.exec(select(NAME).where(condition).order_by(col(HabitItem.id)))).all() == found
