"""Models in JSON columns: their validators do not run when a row is read."""

from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter
from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    Tag,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from sqlalchemy import inspect
from sqlmodel import Field as Column
from sqlmodel import SQLModel

from kit import Body, Database, Entity, Read, ReadSession, Session, found
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import REGISTRY

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class StoredEntity(Entity, registry=REGISTRY):
    """A table of these tests."""


class Coin(BaseModel):
    kind: Literal["coin"] = "coin"
    value: int = Field(ge=0, alias="worth")
    names: list[Annotated[str, AfterValidator(lambda name: f"{name}!")]] = []
    tosses: int = 0
    _checked: bool = PrivateAttr(default=False)

    @field_validator("value")
    @classmethod
    def add_one(cls, value: int) -> int:
        return value + 1

    @model_validator(mode="before")
    @classmethod
    def count(cls, values: Any) -> Any:
        """Add ten. Former values have another name."""
        values = {"worth": values["amount"]} if "amount" in values else values
        return {**values, "worth": values["worth"] + 10} if "worth" in values else values

    @model_validator(mode="after")
    def toss(self) -> "Coin":
        self.tosses += 1
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.value

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._checked = True


class Note(BaseModel):
    kind: Literal["note"] = "note"
    cents: int = 0

    @field_serializer("cents")
    def as_text(self, cents: int) -> str:
        return f"{cents / 100:.2f}"

    @field_validator("cents", mode="before")
    @classmethod
    def of_text(cls, cents: Any) -> Any:
        return round(float(cents) * 100) if isinstance(cents, str) else cents


class Stamp(BaseModel):
    cents: Annotated[int, PlainSerializer(lambda cents: cents * 2), AfterValidator(lambda cents: cents // 2)] = 1


class Dot(BaseModel):
    x: int = 0


class Pile(RootModel[list[Coin]]):
    """A model without names of fields."""


def kind_of(value: Any) -> str:
    return str(value["kind"] if isinstance(value, dict) else value.kind)


class PurseBase(SQLModel):
    coin: Coin
    coins: list[Coin] = Column(default_factory=list)
    pile: Pile | None = None
    either: Annotated[Annotated[Coin, Tag("coin")] | Annotated[Note, Tag("note")], Discriminator(kind_of)] | None = None
    stamp: Stamp | None = None
    dots: list[Dot] = Column(default_factory=list)


class HabitPurse(PurseBase, StoredEntity, table=True):
    __tablename__ = "habit_purse"
    __table_args__ = ({"sqlite_autoincrement": True},)


class PurseCreate(PurseBase, Body):
    """A new purse."""


class PurseRead(PurseBase, Read):
    """A purse."""


@pytest.fixture
async def purse(router: APIRouter, serve: Serve) -> Any:
    """Provide a function that stores a purse and returns the responses to POST and to GET."""

    @router.post("/purses", response_model=PurseRead, status_code=201)
    async def create(new: PurseCreate, session: Session) -> Any:
        row = HabitPurse.model_validate(new)
        session.add(row)
        return row

    @router.get("/purses/{purse_id}", response_model=PurseRead)
    async def read(purse_id: int, session: ReadSession) -> Any:
        row = found(await session.get(HabitPurse, purse_id))
        assert row.coin._checked
        return row

    client = await serve(router)

    async def sent(body: Any) -> tuple[Any, Any]:
        created = await client.post("/purses", json=body)
        assert created.status_code == 201, created.text
        return created.json(), (await client.get("/purses/1")).json()

    return sent


async def test_a_row_that_is_read_has_the_values_that_were_stored(purse: Any, database: Database) -> None:
    coin = {"worth": 1, "names": ["a"]}
    others = {"either": {"kind": "note", "cents": 5}, "stamp": {"cents": 6}, "dots": [{"x": 1}]}
    created, read = await purse({"coin": coin, "coins": [coin], "pile": [coin], **others})
    assert created["coin"].items() >= {"kind": "coin", "worth": 12, "names": ["a!"], "double": 24}.items()
    assert created["either"] == {"kind": "note", "cents": "0.05"}
    assert read == created


@pytest.mark.parametrize(
    ("stored", "value"),
    [({"amount": 3}, 14), ({"value": 3}, 3), ({"worth": 3, "double": 6}, 3), ({"value": -1}, None)],
)
async def test_validators_read_what_is_not_valid_without_them(way: str, stored: Any, value: int | None) -> None:
    kind: Any = inspect(HabitPurse).columns["coin"].type
    read = kind.process_result_value(stored, None)
    assert getattr(read, "value", None) == value
    assert value is not None or read == stored  # the JSON itself, if it is not valid at all
