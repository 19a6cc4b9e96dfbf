"""Conditions on JSON columns in statements of handlers."""

from typing import Any

import pytest
from sqlalchemy import Text, cast
from sqlalchemy.exc import InvalidRequestError
from sqlmodel import col, select

from kit import Database
from tests.kit.habits.items import HabitCrate
from tests.kit.habits.test_json_changes import HabitPanel

LAMPS, SETTINGS = col(HabitPanel.lamps), col(HabitCrate.settings)


@pytest.mark.parametrize(
    "condition",
    [
        lambda: LAMPS == {"a": 1},
        lambda: SETTINGS == {"a": 1},
        lambda: SETTINGS["a"] == 1,
        lambda: LAMPS["a"] != 1,
        lambda: col(HabitCrate.tags).contains("red"),
        lambda: LAMPS.in_([{}]),
    ],
)
def test_a_comparison_of_json_is_refused_with_what_to_write(condition: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"PostgreSQL cannot compare JSON, as in .*: compare a part"):
        condition()


@pytest.mark.parametrize(
    "condition",
    [
        SETTINGS["a"].as_integer() == 1,
        SETTINGS["name"].as_string().in_(["x"]),
        SETTINGS[("deep", "on")].as_boolean().is_(True),
        SETTINGS != None,  # noqa: E711
        cast(SETTINGS["name"], Text).like("%x%"),
    ],
    ids=str,
)
async def test_parts_of_json_are_compared(database: Database, condition: Any) -> None:
    async with database.write() as session, session.begin():
        session.add(HabitCrate(name="a", settings={"a": 1, "name": "x", "deep": {"on": True}}))
        session.add(HabitPanel(lamps={"a": [1]}))
        assert (await session.exec(select(HabitCrate.name).where(condition))).all() == ["a"]
        assert (await session.exec(select(LAMPS["a"][0].as_integer()))).all() == [1]
