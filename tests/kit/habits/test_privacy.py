"""Private fields are hidden by the response model, wherever a row appears in a response."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from sqlmodel import Field, SQLModel, select

from kit import (
    BIGINT,
    CURRENT_PRINCIPAL,
    PRIVATE,
    UNRESTRICTED,
    Batch,
    Database,
    ListQuery,
    Many,
    OnError,
    Page,
    Read,
    ReadSession,
    Session,
    create_many,
    page,
)
from tests.kit.habits.conftest import MEMBER, OTHER, SUPERUSER_ID, bearer
from tests.kit.habits.items import HabitEntity, HabitItem, HabitItemCreate, HabitItemRead

pytestmark = pytest.mark.exhaustive


class Wrapper(BaseModel):
    item: HabitItemRead
    by_name: dict[str, list[HabitItemRead]]


class Open(HabitItemRead):
    """A read variant that declares no private field itself."""

    diary: str


class LineBase(SQLModel):
    belongs_to: ClassVar[str | None] = "item_id"

    item_id: int = Field(foreign_key="habit_item.id")
    diary: str = Field(sa_column_kwargs=PRIVATE)


class LineRead(LineBase, Read):
    """A line, which belongs to a user through an item."""


class LockerBase(SQLModel):
    belongs_to: ClassVar[str | None] = "owner_id"

    owner_id: int = Field(sa_type=BIGINT)
    code: str = Field(max_length=20, sa_column_kwargs={"name": "combination", **PRIVATE})


class HabitLocker(LockerBase, HabitEntity, table=True):
    """A table whose private field has a column with another name."""

    __tablename__ = "habit_locker"


class LockerRead(LockerBase, Read):
    """A locker."""


class LockerQuery(ListQuery):
    model, read = HabitLocker, LockerRead
    filters = sorts = search = ("code",)
    search_index = False


ITEM: dict[str, Any] = {"id": 1, "name": "cup", "owner_id": MEMBER, "diary": "mine"}
READ = HabitItemRead(version=1, **ITEM)
ROW = HabitItem(**ITEM)
CASES: dict[str, tuple[Any, Any]] = {
    "row": (HabitItemRead, lambda: ROW),
    "variant": (HabitItemRead, lambda: HabitItemRead.model_validate(ROW)),
    "dictionary": (HabitItemRead, lambda: READ.model_dump() | {"diary": "mine"}),
    "list": (list[HabitItemRead], lambda: [ROW, READ]),
    "nested": (Wrapper, lambda: {"item": ROW, "by_name": {"a": [READ]}}),
    "mapping": (dict[str, HabitItemRead], lambda: {"a": ROW}),
    "optional": (HabitItemRead | None, lambda: ROW),
    "untyped": (Any, lambda: {"a": ROW, "b": [READ]}),
    "untyped dictionary": (dict[str, Any], lambda: {"a": ROW, "b": [READ]}),
    "subclass for its base": (HabitItemRead, lambda: Open(version=1, **ITEM)),
    "subclass": (Open, lambda: Open(version=1, **ITEM)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [{}, {"response_model_exclude_none": True}, {"response_model_exclude_unset": True}])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
async def test_a_private_field_is_shown_to_the_owner_and_to_superusers(
    router: APIRouter, serve: Any, case: str, options: Any
) -> None:
    model, make = CASES[case]

    @router.get("/items", response_model=model, **options)
    async def read() -> Any:
        return make()

    client = await serve(router, auth=True, public=("GET /items",))
    for caller, is_shown in ((MEMBER, True), (SUPERUSER_ID, True), (OTHER, False), (None, False)):
        answer = await client.get("/items", headers=bearer(caller) if caller else {})
        assert ("mine" in answer.text) is is_shown, (caller, answer.text)
        assert "cup" in answer.text


async def test_the_parent_of_a_row_is_not_its_owner(router: APIRouter, serve: Any) -> None:
    @router.get("/lines", response_model=LineRead)
    async def read() -> Any: ...

    with pytest.raises(ValueError, match="LineRead, whose private fields its owner would not see"):
        await serve(router, auth=True, public=("GET /lines",))


@pytest.fixture
async def stored(database: Any) -> None:
    """Provide an item of a member."""
    async with database.write() as session, session.begin():
        session.add(HabitItem(**{**ITEM, "id": None}))


@pytest.mark.usefixtures("stored")
async def test_streams_hide_private_fields(router: APIRouter, serve: Any) -> None:
    @router.get("/lines")
    async def lines(session: ReadSession) -> AsyncIterator[HabitItemRead]:
        for row in await session.exec(select(HabitItem)):
            yield row  # type: ignore[misc]  # FastAPI makes the variant of it

    @router.get("/events", response_class=EventSourceResponse)
    async def events(session: ReadSession) -> AsyncIterator[ServerSentEvent]:
        for row in await session.exec(select(HabitItem)):
            yield ServerSentEvent(data=HabitItemRead.model_validate(row))
            yield ServerSentEvent(data=row)

    client = await serve(router, auth=True, public=("GET /lines", "GET /events"))
    for path in ("/lines", "/events"):
        for caller, is_shown in ((MEMBER, True), (OTHER, False)):
            text = (await client.get(path, headers=bearer(caller))).text
            assert "cup" in text
            assert ("mine" in text) is is_shown, (path, caller)


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("mode", ["abort", "skip"])
async def test_outcomes_of_a_bulk_hide_private_fields(router: APIRouter, serve: Any, mode: str) -> None:
    @router.post("/items/bulk", response_model=list[HabitItemRead], status_code=201)
    async def create(new: Batch[HabitItemCreate], session: Session, on_error: OnError = "abort") -> Many:
        return await create_many(session, new, on_error, HabitItem)

    client = await serve(router, auth=True)
    body = [{"name": "cup", "owner_id": owner, "diary": "mine"} for owner in (MEMBER, OTHER)]
    answer = await client.post(f"/items/bulk?on_error={mode}", json=body, headers=bearer(MEMBER))
    rows = answer.json()["created"] if mode == "skip" else answer.json()
    assert [row.get("diary") for row in rows] == ["mine", None]


def test_a_row_keeps_its_private_fields_in_python() -> None:
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    assert ROW.model_dump()["diary"] == READ.model_dump()["diary"] == "mine"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_no_list_reveals_a_private_field_whose_column_has_another_name(
    router: APIRouter, serve: Any, database: Database
) -> None:
    @router.get("/lockers", response_model=list[LockerRead])
    async def lockers(query: Annotated[LockerQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitLocker))

    async with database.write() as session, session.begin():
        session.add(HabitLocker(owner_id=MEMBER, code="4711"))
    client = await serve(router, auth=True)
    for query in ("code=4711", "code__startswith=4", "sort=code"):
        answers = [await client.get(f"/lockers?{query}", headers=bearer(user)) for user in (OTHER, SUPERUSER_ID)]
        assert [answer.status_code for answer in answers] == [403, 200], query
    found = [(await client.get("/lockers?q=47", headers=bearer(user))).json() for user in (OTHER, SUPERUSER_ID)]
    assert [len(rows) for rows in found] == [0, 1]
