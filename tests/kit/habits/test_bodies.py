"""Bodies: `model_validate` makes the same row of a body as without the kit, also of a changed body."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Form, Request
from fastapi import Body as Body_
from fastapi.responses import PlainTextResponse
from pydantic import AliasGenerator, ConfigDict, ValidationError, model_validator
from pydantic import Field as PydanticField
from pydantic.alias_generators import to_camel, to_pascal
from sqlmodel import Field, SQLModel, select

from kit import Batch, Body, Database, Many, Name, OnError, Read, Session, create_many
from tests.clients import client_of
from tests.kit.habits.items import (
    HabitBox,
    HabitBoxCreate,
    HabitCrate,
    HabitCrateCreate,
    HabitCrateRead,
    HabitEntity,
    HabitItem,
    HabitItemCreate,
    HabitItemRead,
)


class NamelessCreate(Body):
    """A body without the name that a box needs."""


class SilentCreate(Body):
    """A body whose name may be absent, but not null."""

    name: Name = Field(default=None, max_length=20)


class CamelCreate(Body):
    """A body whose fields have other names in JSON."""

    model_config = ConfigDict(alias_generator=to_camel)

    full_name: str


class PascalCreate(CamelCreate):
    """A body with the same names by another kind of generator."""

    model_config = ConfigDict(alias_generator=AliasGenerator(alias=to_pascal))


async def boxes(database: Database) -> list[str]:
    """Return the names of the stored boxes."""
    async with database.read() as session:
        return list(await session.exec(select(HabitBox.name)))


async def test_a_body_becomes_a_row(router: APIRouter, serve: Any, database: Database) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: HabitBoxCreate, session: Session) -> list[str]:
        box = HabitBox.model_validate(new)
        session.add(box)
        return sorted(box.model_fields_set)

    client = await serve(router)
    assert (await client.post("/boxes", json={"name": "round"})).json() == ["name"]
    assert await boxes(database) == ["round"]


async def test_a_body_changed_by_the_handler_becomes_a_row_with_the_changes(
    router: APIRouter, serve: Any, database: Database
) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: HabitBoxCreate, session: Session) -> None:
        new.name = Name("square")
        session.add(HabitBox.model_validate(new))

    client = await serve(router)
    assert (await client.post("/boxes", json={"name": "round"})).status_code == 201
    assert await boxes(database) == ["square"]


async def test_missing_fields_of_a_body_can_be_added(router: APIRouter, serve: Any, database: Database) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: NamelessCreate, session: Session) -> None:
        session.add(HabitBox.model_validate(new, update={"name": "round"}))

    client = await serve(router)
    assert (await client.post("/boxes", json={})).status_code == 201
    assert await boxes(database) == ["round"]


@pytest.mark.parametrize("body", [NamelessCreate, SilentCreate])
async def test_a_row_that_lacks_a_field_is_refused(
    router: APIRouter, serve: Any, database: Database, caplog: pytest.LogCaptureFixture, body: Any
) -> None:
    @router.post("/boxes", status_code=201)
    async def create(new: body, session: Session) -> None:
        session.add(HabitBox.model_validate(new))

    client = await serve(router)
    assert (await client.post("/boxes", json={})).status_code == 500
    assert "validation error" in caplog.text
    assert await boxes(database) == []


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_rows_of_one_body_share_no_values(router: APIRouter, serve: Any) -> None:
    @router.post("/crates", response_model=list[HabitCrateRead])
    async def create(new: HabitCrateCreate, session: Session) -> list[HabitCrate]:
        crates = [HabitCrate.model_validate(new), HabitCrate.model_validate(new)]
        crates[0].tags.append("first")
        new.tags.append("body")
        session.add_all(crates)
        return crates

    client = await serve(router)
    crates = (await client.post("/crates", json={"name": "crate", "tags": ["sent"]})).json()
    assert [crate["tags"] for crate in crates] == [["sent", "first"], ["sent"]]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_each_row_has_a_copy_of_a_mutable_default(router: APIRouter, serve: Any) -> None:
    @router.post("/crates", response_model=HabitCrateRead)
    async def create(news: list[HabitItemCreate], session: Session) -> HabitCrate:
        crates = [HabitCrate.model_validate(new) for new in news]
        crates[0].settings["log"].append("changed")
        session.add_all(crates)
        return crates[-1]

    client = await serve(router)
    for _ in range(2):
        assert (await client.post("/crates", json=[{"name": "a"}, {"name": "b"}])).json()["settings"] == {"log": []}


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("change", [{"tags": "abc"}, {"weight": True}])
async def test_a_change_that_compares_equal_is_validated(router: APIRouter, serve: Any, change: dict[str, Any]) -> None:
    @router.post("/crates")
    async def create(new: HabitCrateCreate) -> int:
        new.tags += change.get("tags", "")
        new.weight = change.get("weight", new.weight)
        with pytest.raises(ValidationError):
            HabitCrate.model_validate(new)
        return 1

    client = await serve(router)
    assert (await client.post("/crates", json={"name": "a", "tags": ["sent"]})).json() == 1


class LidCreate(Body):
    """A body whose number is made of another value."""

    width: int = 2
    area: int = PydanticField(default_factory=lambda values: values["width"] ** 2)


class LidRead(Read):
    """A lid."""

    width: int
    area: int = PydanticField(default_factory=lambda values: values["width"] + 1)


async def test_a_default_of_a_body_or_variant_may_be_made_of_other_values(router: APIRouter, serve: Any) -> None:
    @router.post("/lids", response_model=LidRead)
    async def create(new: LidCreate, bare: bool = False) -> Any:
        return {"id": 1, "width": new.width} if bare else {"id": 1, **new.model_dump()}

    client = await serve(router)
    assert (await client.post("/lids", json={"width": 3})).json() == {"id": 1, "width": 3, "area": 9}
    assert (await client.post("/lids?bare=true", json={"width": 3})).json() == {"id": 1, "width": 3, "area": 4}


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("takes_request", [True, False])
async def test_an_unknown_member_beside_several_bodies_is_refused(
    router: APIRouter, serve: Any, *, takes_request: bool
) -> None:
    async def look(request: Request) -> None: ...

    @router.post("/pairs", dependencies=[Depends(look)] if takes_request else [])
    async def create(
        first: NamelessCreate, second: SilentCreate, note: Annotated[str, Body_(alias="aNote")]
    ) -> None: ...

    client = await serve(router)
    sent: dict[str, Any] = {"first": {}, "second": {}, "aNote": "n"}
    assert (await client.post("/pairs", json=sent)).status_code == 200
    wrong = await client.post("/pairs", json=sent | {"third": {}})
    assert wrong.status_code == (200 if takes_request else 422)
    for other in ([sent], None):
        assert (await client.post("/pairs", json=other)).status_code == 422
    if not takes_request:
        assert wrong.json()["errors"][0]["pointer"] == "#/third"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_an_unknown_member_beside_an_embedded_body_is_refused(router: APIRouter, serve: Any) -> None:
    @router.post("/pairs")
    async def create(only: Annotated[NamelessCreate | None, Body_(embed=True)] = None) -> None: ...

    @router.post("/forms")
    async def send(a: Annotated[str, Form()], b: Annotated[str, Form()]) -> None: ...

    client = await serve(router)
    bodies: list[dict[str, Any]] = [{"only": {}}, {}, {"x": 1}]
    statuses = [(await client.post("/pairs", json=body)).status_code for body in bodies]
    assert [*statuses, (await client.post("/pairs")).status_code] == [200, 200, 422, 200]
    assert (await client.post("/forms", data={"a": "1", "b": "2", "c": "3"})).status_code == 200


class WideCreate(Body):
    """A body that accepts more than its table."""

    name: str
    size: int | None = None


def add_wide_routes(router: APIRouter) -> None:
    @router.post("/items", response_model=HabitItemRead, status_code=201)
    async def create(new: WideCreate, session: Session) -> HabitItem:
        item = HabitItem.model_validate(new)
        session.add(item)
        return item

    @router.post("/items/bulk", response_model=list[HabitItemRead], status_code=201)
    async def create_several(new: Batch[WideCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitItem)


TOO_LARGE = {"name": "a", "size": 101}


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_value_that_only_the_table_refuses_is_a_422_that_names_it(
    router: APIRouter, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    add_wide_routes(router)
    client = await serve(router)
    for key in ({}, {"Idempotency-Key": "one"}):
        refused = await client.post("/items", json=TOO_LARGE, headers=key)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/size")
    assert "WideCreate accepts what HabitItem refuses: give both the same bounds" in caplog.text
    aborted = await client.post("/items/bulk", json=[{"name": "a"}, TOO_LARGE])
    assert (aborted.status_code, aborted.json()["errors"][0]["pointer"]) == (422, "#/1/size")
    skipped = (await client.post("/items/bulk?on_error=skip", json=[TOO_LARGE, {"name": "b"}])).json()
    assert [row["name"] for row in skipped["created"]] == ["b"]
    assert [(part["index"], part["problem"]["errors"][0]["pointer"]) for part in skipped["failed"]] == [(0, "#/0/size")]


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_an_application_may_handle_what_a_table_refuses(router: APIRouter, new_service: Any) -> None:
    add_wide_routes(router)
    service = new_service(router)

    async def answer(_: Request, failure: ValidationError) -> PlainTextResponse:
        return PlainTextResponse(failure.title, 400)

    service.add_exception_handler(ValidationError, answer)
    async with service.router.lifespan_context(service), client_of(service) as client:
        refused = await client.post("/items", json=TOO_LARGE)
    assert (refused.status_code, refused.text) == (400, "HabitItem")


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_mistake_of_a_handler_is_no_error_of_the_body(router: APIRouter, serve: Any) -> None:
    @router.post("/items", status_code=204)
    async def create(new: WideCreate) -> None:
        HabitItem.model_validate({"size": new.size})

    @router.post("/items/bulk", response_model=list[HabitItemRead], status_code=201)
    async def create_several(session: Session) -> Many:
        return await create_many(session, [{"size": 1}], "skip", HabitItem)

    client = await serve(router)
    assert [(await client.post(path, json=TOO_LARGE)).status_code for path in ("/items", "/items/bulk")] == [500, 500]


class TagBase(SQLModel):
    tag_name: str = Field(alias="tagName")


class HabitTag(TagBase, HabitEntity, table=True):
    """A table with an alias, and with a rule for several fields."""

    __tablename__ = "habit_tag"
    size: int = Field(default=0, alias="tagSize", le=9)

    @model_validator(mode="after")
    def differ(self) -> "HabitTag":
        if self.tag_name == str(self.size):
            raise ValueError("a name is no size")
        return self


class HabitTagCreate(TagBase, Body):
    size: int = Field(default=0, alias="tagSize")


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_refused_value_is_named_by_its_alias(router: APIRouter, serve: Any) -> None:
    @router.post("/tags", status_code=204)
    async def create(new: HabitTagCreate) -> None:
        HabitTag.model_validate(new)

    client = await serve(router)
    for size, pointer in ((10, "#/tagSize"), (7, "#")):
        refused = await client.post("/tags", json={"tagName": "7", "tagSize": size})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)


def test_read_only_fields_are_ignored_under_their_aliases() -> None:
    assert CamelCreate.model_validate({"fullName": "a", "id": 7, "createdAt": "x", "updated_at": "y"}).full_name == "a"
    assert PascalCreate.model_validate({"FullName": "b", "Id": 7, "CreatedAt": "x"}).full_name == "b"
