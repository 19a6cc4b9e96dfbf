"""Tables with composites, private attributes, validated assignments, JSON and renamed columns work as documented."""

from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Depends
from pydantic import ConfigDict, PrivateAttr
from sqlalchemy import update
from sqlalchemy.orm import composite
from sqlalchemy.orm.attributes import flag_modified
from sqlmodel import Field, SQLModel, select

from kit import (
    Batch,
    Body,
    Changes,
    Id,
    IfMatch,
    ListQuery,
    Many,
    OnError,
    Page,
    Read,
    ReadSession,
    Session,
    Stamped,
    create_many,
    found,
    page,
)
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitBook, HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class LampBase(SQLModel):
    watts: int = Field(ge=0, le=100, index=True, sa_column_kwargs={"name": "power"})
    height: int = 0
    width: int = 0
    notes: dict[str, Any] = Field(default_factory=dict)


class LampCreate(LampBase, Body):
    """A new lamp."""


class LampUpdate(LampCreate, Changes):
    """Changes to a lamp."""


class Size:
    """The value of a composite."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def __composite_values__(self) -> tuple[int, int]:
        return self.height, self.width

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.__composite_values__() == other.__composite_values__()

    def __hash__(self) -> int:
        return hash(self.__composite_values__())


class HabitLamp(LampBase, HabitEntity, table=True):
    """A table whose columns have other names, with a key for the id, and with a composite."""

    __tablename__ = "habit_lamp"
    id: int = Field(default=None, primary_key=True, sa_column_kwargs={"name": "lamp_id", "key": "id"})
    size: ClassVar[Any] = composite(Size, "height", "width")


class HabitCandle(LampBase, HabitEntity, table=True):
    """A table that validates every value that is set."""

    __tablename__ = "habit_candle"
    model_config = ConfigDict(validate_assignment=True)  # type: ignore[assignment]  # SQLModel's type is not public


class HabitTorch(LampBase, HabitEntity, table=True):
    """A table with private attributes, of which one has no default."""

    __tablename__ = "habit_torch"
    _heat: list[int] = PrivateAttr(default_factory=lambda: [40])
    _colour: str = PrivateAttr()

    @property
    def heat(self) -> int:
        self._colour = "red"
        return sum(self._heat) + len(self._colour)


class LampRead(Stamped, LampBase, Read):
    """A lamp, candle or torch."""

    heat: int = 0


def resource(router: APIRouter, table: Any) -> None:
    class LampQuery(ListQuery):
        model = table
        read = LampRead

    @router.get("/", response_model=list[LampRead])
    async def list_lamps(query: Annotated[Any, Depends(LampQuery)], session: ReadSession) -> Page:
        return await page(session, query, select(table))

    @router.post("/", response_model=LampRead, status_code=201)
    async def create_lamp(new: LampCreate, session: Session) -> Any:
        row = table.model_validate(new)
        session.add(row)
        return row

    @router.post("/bulk", response_model=list[LampRead], status_code=201)
    async def create_many_lamps(new: Batch[LampCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, table)

    @router.get("/{lamp_id}", response_model=LampRead)
    async def read_lamp(lamp_id: Id, session: ReadSession) -> Any:
        return found(await session.get(table, lamp_id))

    @router.patch("/{lamp_id}", response_model=LampRead)
    async def update_lamp(lamp_id: Id, changes: LampUpdate, session: Session, matching: IfMatch) -> Any:
        row = matching(found(await session.get(table, lamp_id)))
        row.sqlmodel_update(changes.model_dump(exclude_unset=True))
        return row


@pytest.mark.parametrize(("table", "heat"), [(HabitLamp, 0), (HabitCandle, 0), (HabitTorch, 43)])
async def test_rows_are_created_read_and_changed(new_router: Any, serve: Serve, table: Any, heat: int) -> None:
    resource(router := new_router(prefix="/lamps", tags=["lamps"]), table)
    client = await serve(router)
    created = (await client.post("/lamps/", json={"watts": 40})).json()
    assert (created["watts"], created["heat"], created["version"]) == (40, heat, 1)
    assert (await client.get(f"/lamps/{created['id']}")).json() == created
    changed = await client.patch(f"/lamps/{created['id']}", json={"watts": 60, "notes": {"a": 1}})
    assert changed.json()["version"] == 2
    assert changed.headers["ETag"].startswith('"2.')  # with a digest, as `heat` is no column
    assert (await client.get(f"/lamps/{created['id']}")).json() == changed.json()
    many = await client.post("/lamps/bulk", json=[{"watts": 1}, {"watts": 2}])
    listed = await client.get("/lamps/?watts__gt=1&sort=watts")
    assert many.status_code == 201
    assert [row["watts"] for row in listed.json()][-1] == 60


async def test_a_composite_is_read_and_compared(router: APIRouter, serve: Serve) -> None:
    @router.post("/lamps", status_code=201)
    async def create(session: Session) -> None:
        session.add(HabitLamp(watts=1, height=2, width=3))
        session.add(HabitLamp(watts=2, height=2, width=4))

    @router.get("/lamps")
    async def sizes(session: ReadSession) -> list[Any]:
        lamps = (await session.exec(select(HabitLamp).where(HabitLamp.size == Size(2, 3)))).all()
        return [[lamp.watts, *lamp.size.__composite_values__()] for lamp in lamps]

    client = await serve(router)
    assert (await client.post("/lamps")).status_code == 201
    assert (await client.get("/lamps")).json() == [[1, 2, 3]]


async def test_a_change_within_json_is_stored_if_it_is_flagged(router: APIRouter, serve: Serve) -> None:
    @router.post("/lamps", response_model=LampRead, status_code=201)
    async def create(session: Session) -> HabitLamp:
        session.add(lamp := HabitLamp(watts=1, notes={"a": [1]}))
        return lamp

    @router.patch("/lamps/{lamp_id}", response_model=LampRead)
    async def note(lamp_id: Id, session: Session) -> HabitLamp:
        lamp = found(await session.get(HabitLamp, lamp_id))
        lamp.notes["a"].append(2)
        flag_modified(lamp, "notes")
        return lamp

    @router.get("/lamps/{lamp_id}", response_model=LampRead)
    async def read(lamp_id: Id, session: ReadSession) -> HabitLamp:
        return found(await session.get(HabitLamp, lamp_id))

    client = await serve(router)
    path = f"/lamps/{(await client.post('/lamps')).json()['id']}"
    changed = (await client.patch(path)).json()
    assert (changed["notes"], changed["version"]) == ({"a": [1, 2]}, 2)
    assert (await client.get(path)).json() == changed


async def test_an_update_of_many_rows_says_that_it_needs_their_versions(router: APIRouter, serve: Serve) -> None:
    @router.post("/books", status_code=204)
    async def change(session: Session) -> None:
        session.add(HabitBook(id=1, title="One"))
        await session.flush()
        await session.execute(update(HabitBook), [{"id": 1, "title": "Two", "version": 1}])
        with pytest.raises(TypeError, match=r"needs `version` in each, .* `change_many\(session, HabitBook, ids, val"):
            await session.execute(update(HabitBook), [{"id": 1, "title": "Three"}])

    client = await serve(router)
    assert (await client.post("/books")).status_code == 204
