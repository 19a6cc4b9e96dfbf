"""A conflict names the fields of the body, whatever their columns and constraints are called, on both databases."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import CheckConstraint, Column, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, delete, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlmodel import Field, SQLModel

from kit import (
    BIGINT,
    Batch,
    Body,
    Changes,
    Database,
    Id,
    Many,
    OnError,
    Read,
    Session,
    Stamped,
    create_many,
    found,
)
from kit.database.error_responses import RULE
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitEntity
from tests.kit.probes import execute

pytestmark = [pytest.mark.each_engine, pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)]


class HabitHouse(HabitEntity, table=True):
    """A house, to which guests refer by several keys."""

    __tablename__ = "habit_house"
    __table_args__ = (UniqueConstraint("street", "house_number", name="one_house_per_number"),)
    street: str = Field(max_length=20)
    number: int = Field(sa_column_kwargs={"name": "house_number"})


class GuestBase(SQLModel):
    model_config = ConfigDict(alias_generator=to_camel)  # type: ignore[assignment]  # SQLModel's type is not public

    name: str = Field(max_length=20, unique=True, sa_column_kwargs={"name": "full_name"})
    pass_number: int | None = Field(default=None, unique=True)
    e_mail: str | None = Field(default=None, max_length=90, alias="e-mail")
    floor: int = 0
    door: int | None = Field(default=None, sa_column_kwargs={"name": "door number"})
    bed: int | None = None
    house_id: int | None = Field(
        default=None,
        foreign_key="habit_house.id",
        ondelete="RESTRICT",
        sa_type=BIGINT,
        sa_column_kwargs={"name": "house"},
    )
    host_id: int | None = Field(
        default=None, sa_column=Column(BIGINT, ForeignKey("habit_guest.id", ondelete="NO ACTION"))
    )
    street: str | None = Field(default=None, max_length=20)
    number: int | None = None


class HabitGuest(GuestBase, HabitEntity, table=True):
    """A guest, whose constraints have names of their own, or none."""

    __tablename__ = "habit_guest"
    __table_args__ = (
        UniqueConstraint("floor", "door number", name="one_guest_per_door"),
        Index("lower_mail", text("lower(e_mail)"), unique=True),
        CheckConstraint("floor < 9 OR full_name <> 'x'"),
        ForeignKeyConstraint(["street", "number"], ["habit_house.street", "habit_house.house_number"]),
        ExcludeConstraint(("bed", "="), name="one_guest_per_bed", using="btree").ddl_if(dialect="postgresql"),
        Index("bed_of_sqlite", "bed", unique=True).ddl_if(dialect="sqlite"),
    )


class GuestCreate(GuestBase, Body):
    """A new guest."""


class GuestUpdate(GuestCreate, Changes):
    """Changes to a guest."""


class GuestRead(Stamped, GuestBase, Read):
    """A guest."""


def add_guests(guests: APIRouter) -> None:
    @guests.post("/", response_model=GuestRead, status_code=201)
    async def create_guest(new: GuestCreate, session: Session) -> Any:
        guest = HabitGuest.model_validate(new)
        session.add(guest)
        return guest

    @guests.post("/bulk", response_model=list[GuestRead], status_code=201)
    async def create_many_guests(new: Batch[GuestCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitGuest)

    @guests.patch("/{guest_id}", response_model=GuestRead)
    async def update_guest(guest_id: Id, changes: GuestUpdate, session: Session) -> Any:
        guest = found(await session.get(HabitGuest, guest_id))
        guest.sqlmodel_update(changes.model_dump(exclude_unset=True))
        return guest

    @guests.delete("/{guest_id}", status_code=204)
    async def delete_guest(guest_id: Id, session: Session) -> None:
        await session.delete(found(await session.get(HabitGuest, guest_id)))


def add_houses(houses: APIRouter) -> None:
    @houses.patch("/{house_id}", response_model=None)
    async def renumber_house(house_id: Id, number: int, session: Session) -> None:
        found(await session.get(HabitHouse, house_id)).number = number

    @houses.delete("/{house_id}", status_code=204)
    async def delete_house(house_id: Id, session: Session) -> None:
        await session.delete(found(await session.get(HabitHouse, house_id)))

    @houses.delete("/", status_code=204)
    async def clear_houses(session: Session) -> None:
        await session.exec(delete(HabitHouse))


@pytest.fixture
async def client(new_router: Any, serve: Serve, database: Database) -> httpx.AsyncClient:
    """Provide a client of a service with two houses and two guests."""
    add_guests(guests := new_router(prefix="/guests", tags=["guests"]))
    add_houses(houses := new_router(prefix="/houses", tags=["houses"]))
    async with database.write() as session:
        session.add_all([HabitHouse(id=101, street="Elm", number=1), HabitHouse(id=102, street="Oak", number=2)])
        await session.flush()
        session.add(HabitGuest(id=101, **GUEST, house_id=101, street="Oak", number=2))
        await session.flush()
        session.add(HabitGuest(id=102, name="b", host_id=101))
        await session.commit()
    return await serve(guests, houses)


GUEST: Any = {"name": "a", "pass_number": 7, "e_mail": "a@b", "floor": 1, "door": 2, "bed": 3}
TAKEN, MISSING = "taken: another row has", "to something that does not exist."
CONFLICTS = [
    ({"name": "a"}, f"name is {TAKEN} this value.", ["name"]),
    ({"passNumber": 7}, f"passNumber is {TAKEN} this value.", ["passNumber"]),
    ({"e-mail": "A@B"}, f"e-mail is {TAKEN} this value.", ["e-mail"]),
    ({"floor": 1, "door": 2}, f"floor and door are {TAKEN} these values.", ["floor", "door"]),
    ({"houseId": 999}, f"houseId refers {MISSING}", ["houseId"]),
    ({"hostId": 999, "houseId": 101}, f"hostId refers {MISSING}", ["hostId"]),
    ({"street": "Elm", "number": 2, "houseId": 101}, f"street and number refer {MISSING}", ["street", "number"]),
]


@pytest.mark.parametrize(("body", "detail", "fields"), CONFLICTS)
async def test_a_conflict_names_the_fields_as_the_body_has_them(
    client: httpx.AsyncClient, body: Any, detail: str, fields: list[str]
) -> None:
    new = {"name": "c"} | body
    created, changed = await client.post("/guests/", json=new), await client.patch("/guests/102", json=body)
    for answer in (created, changed):
        assert (answer.status_code, answer.json()["detail"]) == (409, detail)
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{field}" for field in fields]
    many = [{"name": "d"}, new]
    aborted, skipped = [await client.post(f"/guests/bulk?on_error={way}", json=many) for way in ("abort", "skip")]
    for problem in (aborted.json(), skipped.json()["failed"][0]["problem"]):
        assert [error["pointer"] for error in problem["errors"]] == [f"#/1/{field}" for field in fields]


async def test_an_exclusion_constraint_is_a_conflict(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post("/guests/", json={"name": "c", "bed": 3})
    verb = "has" if database.is_sqlite else "excludes"
    assert (answer.status_code, answer.json()["detail"]) == (409, f"bed is taken: another row {verb} this value.")


async def test_a_check_without_a_name_points_at_its_fields(client: httpx.AsyncClient) -> None:
    answer = await client.post("/guests/", json={"name": "x", "floor": 9})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/floor", "#/name"}


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("DELETE", "/houses/101", "houseId"),
        ("DELETE", "/houses/102", "street and number"),
        ("DELETE", "/guests/101", "hostId"),
        ("PATCH", "/houses/102?number=5", "street and number"),
    ],
)
async def test_a_row_in_use_names_the_fields_that_refer_to_it(
    client: httpx.AsyncClient, method: str, path: str, fields: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["detail"]) == (409, f"Other rows refer to it by {fields}.")
    assert answer.json()["type"] == "urn:problem:in-use"


async def test_a_deletion_of_many_rows_in_use_is_refused_too(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/houses/")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:problem:in-use")


@pytest.fixture
async def raising(database: Database) -> AsyncIterator[None]:
    """Create triggers that raise an exception."""
    if database.is_sqlite:
        raising, when = "BEGIN SELECT RAISE(ABORT, 'secret rule'); END", "WHEN NEW.floor = 666"
        made = [
            f"CREATE TRIGGER no_devils BEFORE INSERT ON habit_guest {when} {raising}",
            f"CREATE TRIGGER no_end BEFORE DELETE ON habit_guest {raising}",
        ]
    else:
        body = "BEGIN IF TG_OP = 'DELETE' OR NEW.floor = 666 THEN RAISE 'secret rule'; END IF; RETURN NEW; END"
        made = [
            f"CREATE FUNCTION secret() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            "CREATE TRIGGER no_devils BEFORE INSERT OR DELETE ON habit_guest FOR EACH ROW EXECUTE FUNCTION secret()",
        ]
    await execute(database, *made)
    yield
    dropped = (
        ["DROP TRIGGER no_devils", "DROP TRIGGER no_end"] if database.is_sqlite else ["DROP FUNCTION secret CASCADE"]
    )
    await execute(database, *dropped)


async def test_a_trigger_that_raises_is_a_conflict_with_the_message_in_the_log_alone(
    client: httpx.AsyncClient, raising: None, caplog: pytest.LogCaptureFixture
) -> None:
    devil = {"name": "c", "floor": 666}
    created, deleted = await client.post("/guests/", json=devil), await client.delete("/guests/102")
    for answer in (created, deleted):
        problem = answer.json()
        assert (answer.status_code, problem["type"], problem["detail"]) == (409, "urn:problem:refused", RULE)
    assert ([error["pointer"] for error in created.json()["errors"]], "errors" in deleted.json()) == (["#"], False)
    many = await client.post("/guests/bulk", json=[{"name": "d"}, devil])
    assert [error["pointer"] for error in many.json()["errors"]] == ["#/1"]
    assert "secret rule" in caplog.text
