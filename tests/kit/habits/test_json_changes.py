"""Changes of JSON values: those that Python takes for equal, as of 1 to `true`, are stored too."""

from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from sqlmodel import JSON, Field, SQLModel

from kit import Body, Changes, Database, Id, Read, Session, Stamped, found
from kit.models.json_equality import is_same_json
from tests.kit.habits.items import HabitEntity


class Switch(BaseModel):
    state: bool | int


class PanelBase(SQLModel):
    lamps: dict[str, Any] = {}
    sockets: dict[str, Any] = Field(default={}, sa_type=JSON)
    anything: Any = None
    levels: list[bool | int] = []
    switch: Switch | None = None


class HabitPanel(PanelBase, HabitEntity, table=True):
    __tablename__ = "habit_panel"


class HabitPanelRead(Stamped, PanelBase, Read):
    """A panel."""


class HabitPanelCreate(PanelBase, Body):
    """A new panel."""


class HabitPanelUpdate(HabitPanelCreate, Changes):
    """Changes to a panel."""


VALUES = {"lamps": {"a": [1]}, "sockets": {"a": 1}, "anything": 1, "levels": [1], "switch": {"state": 1}}
CHANGED = {
    "lamps": {"a": [True]},
    "sockets": {"a": True},
    "anything": True,
    "levels": [True],
    "switch": {"state": True},
}


async def test_a_number_is_changed_to_a_boolean(router: APIRouter, serve: Any, database: Database) -> None:
    @router.patch("/panels/{panel_id}", response_model=HabitPanelRead)
    async def update(panel_id: Id, changes: HabitPanelUpdate, session: Session) -> HabitPanel:
        panel = found(await session.get(HabitPanel, panel_id))
        panel.sqlmodel_update(changes.model_dump(exclude_unset=True))
        await session.flush()
        return panel

    async with database.write() as session, session.begin():
        panel = HabitPanel.model_validate(VALUES)
        session.add(panel)
    client = await serve(router)
    for version, (name, value) in enumerate(CHANGED.items(), 2):
        answer = (await client.patch(f"/panels/{panel.id}", json={name: value})).json()
        assert (repr(answer[name]), answer["version"]) == (repr(value), version)
        stored = await database.find(HabitPanel, panel.id)
        assert repr(stored.model_dump(mode="json")[name]) == repr(value), name  # type: ignore[union-attr]


async def test_an_equal_value_changes_no_version(router: APIRouter, serve: Any, database: Database) -> None:
    async with database.write() as session, session.begin():
        panel = HabitPanel(lamps={"a": 1, "b": [2.0]})
        session.add(panel)
        await session.flush()
        panel.lamps = {"b": [2], "a": 1.0}
        await session.flush()
        assert panel.version == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ([1], [1, 1]),
        ([0], [False]),
        ({"a": 1}, {"b": 1}),
        (Switch(state=1), Switch(state=True)),
    ],
)
def test_values_that_differ_in_json_are_not_the_same(one: Any, other: Any) -> None:
    assert not is_same_json(one, other)
