"""Response models: FastAPI's own semantics, for rows, dictionaries, lists and everything else."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from sqlmodel import SQLModel, select

from kit import Database, ListQuery, Page, Read, ReadSession, Session, Stamped, page
from tests.kit.habits.items import HabitItem, HabitItemQuery, HabitItemRead


class Colour(Enum):
    RED = "red"


class Summary(BaseModel):
    name: str
    note: str | None = None
    size: int = 5


class Camel(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    first_name: str = Field(alias="firstName")


class Decorated(Read):
    name: str

    @computed_field
    def shout(self) -> str:
        return self.name.upper()

    @field_serializer("name")
    def serialize_name(self, name: str) -> str:
        return f"<{name}>"

    @field_validator("name")
    @classmethod
    def strip_name(cls, name: str) -> str:
        return name.strip()


class Exclaimed(Read):
    """A read variant whose validator changes its values."""

    name: str

    @model_validator(mode="after")
    def exclaim(self) -> Self:
        self.name += "!"
        return self


class Wrapped(Read):
    name: str

    @model_validator(mode="wrap")
    @classmethod
    def exclaim(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        read = validate(value)
        return read.model_copy(update={"name": f"{read.name}!"})


class Fresh(Exclaimed):
    model_config = ConfigDict(revalidate_instances="always")  # type: ignore[assignment]  # SQLModel's type is not public


class Nested(BaseModel):
    title: str
    item: HabitItemRead
    items: list[HabitItemRead]
    by_name: dict[str, HabitItemRead]


SUMMARY = {"name": "cup", "note": None, "size": 5}
CASES: list[tuple[Any, dict[str, Any], Any, Any]] = [
    (Summary, {}, {"name": "cup", "extra": 1}, SUMMARY),
    (Summary, {"response_model_exclude_none": True}, {"name": "cup"}, {"name": "cup", "size": 5}),
    (Summary, {"response_model_exclude_unset": True}, {"name": "cup"}, {"name": "cup"}),
    (Summary, {"response_model_exclude_defaults": True}, {"name": "cup", "size": 5}, {"name": "cup"}),
    (Summary, {"response_model_include": {"name"}}, {"name": "cup"}, {"name": "cup"}),
    (Summary, {"response_model_exclude": {"note"}}, {"name": "cup"}, {"name": "cup", "size": 5}),
    (list[Summary], {}, [{"name": "cup"}], [SUMMARY]),
    (list[str], {}, ["a", "b"], ["a", "b"]),
    (list[dict[str, Any]], {}, [{"a": 1}], [{"a": 1}]),
    (dict[str, Any], {}, {"a": [1, None]}, {"a": [1, None]}),
    (dict[str, int], {}, {"a": 1}, {"a": 1}),
    (Summary | None, {}, None, None),
    (Summary | None, {}, {"name": "cup"}, SUMMARY),
    (Summary | int, {}, 3, 3),
    (Camel, {}, {"firstName": "Steve"}, {"firstName": "Steve"}),
    (Camel, {"response_model_by_alias": False}, {"firstName": "Steve"}, {"first_name": "Steve"}),
    (int, {}, 3, 3),
    (bool, {}, True, True),
    (tuple[int, str], {}, (1, "a"), [1, "a"]),
    (set[int], {}, {1}, [1]),
    (Decimal, {}, Decimal("9.90"), "9.90"),
    (datetime, {}, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    (UUID, {}, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour, {}, Colour.RED, "red"),
    (Any, {}, {"a": Colour.RED, "b": Decimal("1.5"), "c": Summary(name="cup")}, None),
]


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
async def test_the_answer_is_the_one_of_fastapi(router: APIRouter, serve: Any, number: int) -> None:
    model, options, result, expected = CASES[number]

    @router.get("/declared", response_model=model, **options)
    async def declared() -> Any:
        return result

    @router.post("/declared", response_model=model, **options)
    def written() -> Any:
        return result

    client = await serve(router)
    plain = APIRouter()
    plain.get("/declared", response_model=model, **options)(declared)
    own = await fastapi_answer(plain)
    for method in ("GET", "POST"):
        answer = await client.request(method, "/declared")
        assert answer.status_code == 200
        assert answer.json() == own.json()
        assert expected is None or answer.json() == expected
        assert answer.headers["content-type"] == own.headers["content-type"]


async def fastapi_answer(router: APIRouter) -> httpx.Response:
    app = FastAPI()
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get("/declared")


async def test_the_return_annotation_is_the_response_model(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read() -> list[Summary]:
        return [Summary(name="cup")]

    client = await serve(router)
    assert (await client.get("/items")).json() == [SUMMARY]
    schema = (await client.get("/openapi.json")).json()["paths"]["/items"]["get"]["responses"]["200"]
    assert schema["content"]["application/json"]["schema"]["items"]["$ref"].endswith("/Summary")


async def test_a_row_is_shown_by_its_read_variant(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read() -> HabitItemRead:
        return HabitItem(id=1, name="cup")  # type: ignore[return-value]

    @router.get("/decorated", response_model=Decorated)
    async def decorated() -> HabitItem:
        return HabitItem(id=1, name=" cup ")

    client = await serve(router)
    assert (await client.get("/items")).json()["name"] == "cup"
    assert (await client.get("/decorated")).json() == {"id": 1, "name": "<cup>", "shout": "CUP"}


async def test_options_of_the_route_apply_to_rows_and_lists(router: APIRouter, serve: Any) -> None:
    @router.get("/one", response_model=HabitItemRead, response_model_exclude_none=True)
    async def one() -> HabitItem:
        return HabitItem(id=1, name="cup")

    @router.get("/many", response_model=list[HabitItemRead], response_model_include={"__all__": {"id", "name"}})
    async def many() -> list[HabitItem]:
        return [HabitItem(id=1, name="cup")]

    client = await serve(router)
    assert "size" not in (await client.get("/one")).json()
    assert (await client.get("/many")).json() == [{"id": 1, "name": "cup"}]


async def test_rows_within_models_and_dictionaries_are_shown_by_the_model(router: APIRouter, serve: Any) -> None:
    @router.get("/nested", response_model=Nested)
    async def nested() -> dict[str, Any]:
        row = HabitItem(id=1, name="cup")
        return {"title": "All", "item": row, "items": [row], "by_name": {"cup": row}}

    client = await serve(router)
    answer = (await client.get("/nested")).json()
    assert answer["item"]["name"] == answer["items"][0]["name"] == answer["by_name"]["cup"]["name"] == "cup"
    assert "box_id" not in answer["item"]


async def test_the_response_class_is_honoured(router: APIRouter, serve: Any) -> None:
    @router.get("/text", response_class=PlainTextResponse)
    async def text() -> str:
        return "plain"

    @router.post("/text", response_class=PlainTextResponse)
    async def write() -> str:
        return "plain"

    client = await serve(router)
    for method in ("GET", "POST"):
        answer = await client.request(method, "/text")
        assert (answer.text, answer.headers["content-type"]) == ("plain", "text/plain; charset=utf-8")


async def test_a_result_that_does_not_fit_is_a_500_and_is_not_stored(router: APIRouter, serve: Any, names: Any) -> None:
    @router.post("/items", response_model=Summary)
    async def create(session: Session) -> dict[str, Any]:
        session.add(HabitItem(name="cup"))
        return {"name": None}

    client = await serve(router)
    assert (await client.post("/items")).status_code == 500
    assert await names() == []


async def test_none_is_null(router: APIRouter, serve: Any) -> None:
    @router.get("/nothing")
    async def nothing() -> None: ...

    client = await serve(router)
    assert (await client.get("/nothing")).text == "null"


async def test_a_table_as_response_model_is_refused(router: APIRouter, serve: Any) -> None:
    @router.get("/items", response_model=HabitItem)
    async def read(session: ReadSession) -> Any: ...

    with pytest.raises(ValueError, match="responds with the table HabitItem, which shows all of its columns"):
        await serve(router)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("many", [True, False])
async def test_a_row_without_a_response_model_is_refused_with_a_message(
    router: APIRouter, serve: Any, caplog: pytest.LogCaptureFixture, many: bool
) -> None:
    @router.get("/items", response_model=None)
    async def read() -> Any:
        row = HabitItem(id=1, name="cup")
        return [row] if many else row

    client = await serve(router)
    assert (await client.get("/items")).status_code == 500
    assert "a table, which would show all its columns: give the route a response_model" in caplog.text


async def test_a_row_in_the_annotation_without_a_response_model_is_refused_at_start(
    router: APIRouter, serve: Any
) -> None:
    @router.get("/items", response_model=None)
    async def read() -> list[HabitItem]:
        return []

    with pytest.raises(ValueError, match="responds with the table HabitItem, which shows all of its columns"):
        await serve(router)


class Loose(SQLModel):
    name: str


async def test_a_response_model_may_be_another_model_than_a_read_variant(router: APIRouter, serve: Any) -> None:
    @router.get("/items", response_model=Loose)
    async def read() -> HabitItem:
        return HabitItem(id=1, name="cup")

    client = await serve(router)
    assert (await client.get("/items")).json() == {"name": "cup"}


def test_a_read_variant_is_made_of_a_row_and_of_other_values() -> None:
    item = HabitItem(id=1, name="cup")
    assert HabitItemRead.model_validate(item, update={"name": "plate"}).name == "plate"
    assert HabitItemRead.model_validate(item, from_attributes=True).name == "cup"
    assert HabitItemRead(id=1, **item.model_dump(exclude={"id"})).name == "cup"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize(
    "model",
    [
        HabitItemRead | None,
        Annotated[HabitItemRead, Field(description="An item.")],
        Annotated[HabitItemRead | None, "x"],
    ],
)
async def test_an_optional_or_annotated_row_has_the_selected_fields(
    router: APIRouter, serve: Any, model: Any, database: Database
) -> None:
    @router.get("/items/{item_id}", response_model=model)
    async def read(
        item_id: int, query: Annotated[HabitItemQuery, Depends(HabitItemQuery.of_one)], session: ReadSession
    ) -> Any:
        return await session.get(HabitItem, item_id, options=query.loading)

    async with database.write() as session, session.begin():
        session.add(HabitItem(name="cup"))
    client = await serve(router)
    answer = await client.get("/items/1?fields=name")
    assert answer.json() == {"name": "cup"}
    assert answer.headers["etag"].startswith('"1.')  # with a digest, as an item has a private field
    responses = (await client.get("/openapi.json")).json()["paths"]["/items/{item_id}"]["get"]["responses"]
    assert "ETag" in responses["200"]["headers"]


class LongRead(HabitItemRead):
    """A variant with a field that a validator of the response computes from the row."""

    box: int = 0


async def test_an_annotation_of_the_response_model_may_have_a_validator_of_rows(router: APIRouter, serve: Any) -> None:
    boxed = Annotated[LongRead, BeforeValidator(lambda row: {**row.model_dump(), "box": row.box_id})]

    @router.post("/items", response_model=boxed)
    async def write(session: Session) -> Any:
        item = HabitItem(name="cup", box_id=None)
        session.add(item)
        await session.flush()
        item.__dict__["box_id"] = 7
        return item

    assert (await (await serve(router)).post("/items")).json()["box"] == 7


@pytest.mark.parametrize("read", [Exclaimed, Wrapped, Fresh])
async def test_a_validator_of_a_read_variant_runs_once(router: APIRouter, serve: Any, read: Any) -> None:
    @router.post("/items", response_model=read)
    async def create(session: Session) -> HabitItem:
        row = HabitItem(name="cup")
        session.add(row)
        await session.flush()
        return row

    @router.get("/items", response_model=list[read])
    async def listed(session: ReadSession) -> Any:
        return (await session.exec(select(HabitItem))).all()

    client = await serve(router)
    shown = (await client.post("/items")).json()
    assert (shown["name"], (await client.get("/items")).json()) == ("cup!", [shown])


class Shouting(Stamped, Read):
    name: str

    @computed_field(alias="loud")
    def shout(self) -> str:
        return self.name.upper()


class ShoutingQuery(ListQuery):
    model = HabitItem
    read = Shouting


class WrappedQuery(ListQuery):
    model = HabitItem
    read = Wrapped


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize(
    ("query", "fields", "shown"),
    [
        (ShoutingQuery, "shout", {"loud": "CUP"}),
        (ShoutingQuery, "name,shout", {"name": "cup", "loud": "CUP"}),
        (ShoutingQuery, "name", {"name": "cup"}),
        (WrappedQuery, "name", {"name": "cup!"}),
    ],
)
async def test_fields_select_what_a_read_variant_computes(
    router: APIRouter, database: Database, serve: Any, query: Any, fields: str, shown: Any
) -> None:
    @router.get("/items", response_model=list[query.read])
    async def listed(query: Annotated[Any, Depends(query)], session: ReadSession) -> Page:
        return await page(session, query, select(HabitItem))

    async with database.write() as session, session.begin():
        session.add(HabitItem(name="cup"))
    client = await serve(router)
    assert (await client.get("/items", params={"fields": fields})).json() == [shown]


def test_an_included_relationship_has_another_name_than_a_computed_field() -> None:
    with pytest.raises(TypeError, match="includes has 'shout', but Shouting has a field of that name"):

        class Twice(ShoutingQuery):
            includes: ClassVar[Any] = {"shout": HabitItemRead}
