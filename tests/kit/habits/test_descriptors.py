"""Hybrids, synonyms, composites and association proxies of a table are set in each way in which fields are set."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter
from sqlalchemy import Column, String, func, inspect
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import column_property, composite, declared_attr, deferred, relationship, synonym
from sqlmodel import Field, Relationship

from kit import BIGINT, Batch, Body, Changes, Id, Many, OnError, Read, Session, Stamped, create_many, found
from kit.models.descriptors import settable_descriptors
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitEntity
from tests.kit.habits.test_kinds_of_tables import Size

in_resources = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class HabitPane(HabitEntity, table=True):
    __tablename__ = "habit_pane"
    colour: str = Field(max_length=9)
    window_id: int | None = Field(default=None, foreign_key="habit_window.id", sa_type=BIGINT, ondelete="CASCADE")


class WithFrame:
    """A mixin with a relationship, as SQLAlchemy documents it."""

    @declared_attr
    def frame(self):  # type: ignore[no-untyped-def]  # SQLAlchemy would read the annotation as that of a column
        return relationship("HabitFrame", backref="windows", lazy="raise")


class HabitFrame(HabitEntity, table=True):
    __tablename__ = "habit_frame"
    wood: str = Field(default="oak", max_length=9)


class HabitWindow(WithFrame, HabitEntity, table=True):
    """A table with each kind of attribute that is no field, and can be set."""

    __tablename__ = "habit_window"
    name: str = Field(max_length=20)
    height: int = 0
    width: int = 0
    lock: str = Field(default="", max_length=20)
    frame_id: int | None = Field(default=None, foreign_key="habit_frame.id", sa_type=BIGINT)
    title: ClassVar[Any] = synonym("name")
    size: ClassVar[Any] = composite(Size, "height", "width")
    note: ClassVar[Any] = deferred(Column("note", String(20), nullable=True))
    panes: list[HabitPane] = Relationship()
    colours: ClassVar[Any] = association_proxy("panes", "colour", creator=lambda colour: HabitPane(colour=colour))

    @hybrid_property
    def code(self) -> str:
        return self.lock[::-1]

    @code.inplace.setter
    def _set_code(self, code: str) -> None:
        self.lock = code[::-1]

    @hybrid_property
    def area(self) -> int:
        return self.height * self.width


inspect(HabitWindow).add_property("upper", column_property(func.upper(HabitWindow.name)))


class WindowBody(Body):
    name: str = Field(max_length=20)
    code: str = Field(default="", max_length=20)


class WindowUpdate(WindowBody, Changes):
    """Changes to a window."""


class WindowRead(Stamped, Read):
    name: str
    lock: str


VALUES: Any = {"title": "b", "size": Size(1, 2), "code": "xyz", "note": "n", "colours": ["red"]}


def set_one_by_one(row: Any) -> None:
    for name, value in VALUES.items():
        setattr(row, name, value)


WAYS: dict[str, Any] = {
    "assignment": set_one_by_one,
    "update": lambda row: row.sqlmodel_update(VALUES),
    "further update": lambda row: row.sqlmodel_update({}, update=VALUES),
}
NEW: dict[str, Any] = {
    "constructor": lambda: HabitWindow(name="a", **VALUES),
    "dictionary": lambda: HabitWindow.model_validate({"name": "a", **VALUES}),
    "validated update": lambda: HabitWindow.model_validate({"name": "a"}, update=VALUES),
}


@in_resources
@pytest.mark.parametrize("name", [*WAYS, *NEW])
async def test_each_attribute_is_set_and_stored(router: APIRouter, serve: Serve, name: str) -> None:
    @router.post("/windows")
    async def create(session: Session) -> Any:
        row = NEW[name]() if name in NEW else HabitWindow(name="a", panes=[])
        if name in WAYS:
            WAYS[name](row)
        session.add(row)
        await session.flush()
        await session.refresh(row, ["name", "height", "width", "lock", "note", "panes"])
        return [row.name, row.height, row.width, row.lock, row.note, list(row.colours)]

    client = await serve(router)
    assert (await client.post("/windows")).json() == ["b", 1, 2, "zyx", "n", ["red"]]


@in_resources
async def test_the_fields_of_a_body_set_hybrids(new_router: Callable[..., APIRouter], serve: Serve) -> None:
    router = new_router(prefix="/windows", tags=["windows"])

    @router.post("/", response_model=WindowRead, status_code=201)
    async def create(new: WindowBody, session: Session) -> Any:
        row = HabitWindow.model_validate(new)
        session.add(row)
        return row

    @router.post("/bulk", response_model=list[WindowRead], status_code=201)
    async def create_several(new: Batch[WindowBody], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitWindow)

    @router.patch("/{window_id}", response_model=WindowRead)
    async def change(window_id: Id, changes: WindowUpdate, session: Session) -> Any:
        row = found(await session.get(HabitWindow, window_id))
        row.sqlmodel_update(changes.model_dump(exclude_unset=True))
        return row

    client = await serve(router)
    body = {"name": "a", "code": "abc"}
    created = (await client.post("/windows/", json=body)).json()
    assert created["lock"] == "cba"
    assert [row["lock"] for row in (await client.post("/windows/bulk", json=[body, body])).json()] == ["cba", "cba"]
    changed = (await client.patch(f"/windows/{created['id']}", json={"code": "xyz"})).json()
    assert (changed["lock"], changed["version"]) == ("zyx", 2)


@pytest.mark.parametrize(("name", "value"), [("area", 5), ("upper", "B")])
def test_an_attribute_without_a_setter_is_not_set(name: str, value: Any) -> None:
    window = HabitWindow(name="a", **{name: value})
    with pytest.raises((AttributeError, ValueError)):
        setattr(window, name, value)


@in_resources
async def test_relationships_of_mixins_and_backrefs_are_set(router: APIRouter, serve: Serve) -> None:
    @router.post("/frames")
    async def create(session: Session) -> Any:
        new: Any = HabitFrame
        frame = new(windows=[HabitWindow(name="a"), HabitWindow(name="b")])
        other: Any = HabitWindow(name="c")
        other.frame = frame
        session.add(frame)
        await session.flush()
        return [(window.name, window.frame_id == frame.id) for window in frame.windows]

    client = await serve(router)
    assert (await client.post("/frames")).json() == [["a", True], ["b", True], ["c", True]]


def test_a_class_without_a_table_has_no_descriptors() -> None:
    assert settable_descriptors(HabitEntity) == frozenset()
