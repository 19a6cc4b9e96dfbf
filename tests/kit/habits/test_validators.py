"""Validators that change values: they are called as often as in FastAPI and SQLModel, and filters pass through them."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    RootModel,
    StringConstraints,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from sqlmodel import Field, SQLModel, select

from kit import Body, ListQuery, Page, Read, ReadSession, Session, page
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


def reversed_text(text: str, validate: ValidatorFunctionWrapHandler) -> str:
    return str(validate(text))[::-1]


def within_model(text: str, info: ValidationInfo) -> str:
    return text + str(info.data["number"])


class TagBase(SQLModel):
    model_config = ConfigDict(str_strip_whitespace=True)  # type: ignore[assignment]  # SQLModel's type is not public

    number: Annotated[int, AfterValidator(lambda number: number + 1)] = 0
    text: Annotated[str, WrapValidator(reversed_text)] = Field(default="", max_length=20)
    lower: Annotated[str, StringConstraints(to_lower=True)] = Field(default="", max_length=20)
    short: Annotated[str, BeforeValidator(str)] = Field(default="", max_length=3)
    address: EmailStr | None = None
    upper: str = Field(default="", max_length=20)
    own: Annotated[str, AfterValidator(within_model)] = Field(default="", max_length=20)

    @field_validator("upper")
    @classmethod
    def convert(cls, upper: str) -> str:
        return upper.upper()


class HabitLabel(TagBase, HabitEntity, table=True):
    __tablename__ = "habit_label"


class TagCreate(TagBase, Body):
    """A new tag."""


class TagRead(Read):
    """A tag, with the values that are stored."""

    number: int
    text: str
    lower: str
    upper: str


class TagQuery(ListQuery):
    model, read, sorts = HabitLabel, TagRead, ()
    filters = tuple(TagBase.model_fields)


class Part(BaseModel):
    """A model of pydantic in a body."""

    __slots__ = ("note",)

    number: Annotated[int, AfterValidator(lambda number: number + 1)]
    names: Annotated[list[str], BeforeValidator(lambda names: names.split(","))] = []
    total: int = 0

    @model_validator(mode="after")
    def count(self) -> "Part":
        self.total += 1
        return self


class Counts(RootModel[dict[str, int]]):
    """A dictionary as a model."""


class Whole(Body):
    parts: list[Part] = Field(default=[], max_length=3)
    counts: Counts = Counts({})


@pytest.fixture
async def client(router: APIRouter, serve: Serve) -> httpx.AsyncClient:
    @router.post("/tags/", response_model=TagRead, status_code=201)
    async def create_tag(new: TagCreate, session: Session) -> Any:
        row = HabitLabel.model_validate(new)
        session.add(row)
        return row

    @router.get("/tags/", response_model=list[TagRead])
    async def list_tags(query: Annotated[Any, Depends(TagQuery)], session: ReadSession) -> Page:
        return await page(session, query, select(HabitLabel))

    return await serve(router)


async def test_the_body_and_the_table_call_each_validator_once(client: httpx.AsyncClient) -> None:
    created = (await client.post("/tags/", json={"number": 5, "text": "ab"})).json()
    assert (created["number"], created["text"]) == (7, "ab")


async def test_a_model_in_a_body_calls_each_validator_once_and_is_as_strict(router: APIRouter, serve: Serve) -> None:
    @router.post("/wholes")
    async def create(new: Whole) -> list[Any]:
        return [*new.parts, new.counts, [type(part) is Part for part in new.parts]]

    client = await serve(router)
    part = {"number": 5, "names": "a,b"}
    created = await client.post("/wholes", json={"parts": [part], "counts": {"a": 1}})
    assert created.json() == [{"number": 6, "names": ["a", "b"], "total": 1}, {"a": 1}, [True]]
    for wrong in ({"parts": [part | {"number": "5"}]}, {"parts": [part | {"other": 1}]}, {"counts": {"a": "1"}}):
        assert (await client.post("/wholes", json=wrong)).status_code == 422


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("lower=ABC", True),
        ("lower__in=x,ABC", True),
        ("lower__ne=ABC", False),
        ("lower=%20abc%20", True),
        ("address=A@Example.COM", True),
        ("address=nobody", False),
        ("upper=abc", True),
        ("short=abcd", False),
        ("number=1", True),
        ("text=ab", True),
        ("own=01", True),
    ],
)
async def test_a_filter_by_the_value_that_was_sent_finds_the_row(
    client: httpx.AsyncClient, query: str, *, is_found: bool
) -> None:
    sent = {"lower": "ABC", "address": "A@Example.COM", "upper": "abc", "text": "ab", "own": ""}
    assert (await client.post("/tags/", json=sent)).status_code == 201
    assert len((await client.get(f"/tags/?{query}")).json()) == is_found
