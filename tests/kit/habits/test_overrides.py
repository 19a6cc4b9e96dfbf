"""`app.dependency_overrides`: every dependency can be replaced in a test, including those of the kit."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import pytest
import sqlalchemy.ext.asyncio
from fastapi import APIRouter, Depends, Header, HTTPException
from sqlalchemy.orm import joinedload
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import (
    Batch,
    Body,
    Caller,
    Database,
    ListQuery,
    Many,
    OnError,
    Page,
    Principal,
    Read,
    ReadSession,
    Session,
    create_many,
    found,
    get_caller,
    get_read_session,
    get_session,
    page,
)
from tests.kit.habits.conftest import MEMBER, OTHER, SUPERUSER_ID, bearer, client_of
from tests.kit.habits.items import HabitAuthor, HabitBook, HabitItem, HabitItemRead


async def colour() -> str:
    return "red"


async def test_any_dependency_is_overridden(router: APIRouter, new_service: Any) -> None:
    @router.get("/colour")
    async def read(value: Annotated[str, Depends(colour)]) -> str:
        return value

    service = new_service(router)
    service.dependency_overrides[colour] = lambda: "blue"
    async with client_of(service) as client:
        assert (await client.get("/colour")).json() == "blue"
        service.dependency_overrides.clear()
        assert (await client.get("/colour")).json() == "red"


async def test_get_session_is_overridden(router: APIRouter, new_service: Any, database: Database, names: Any) -> None:
    @router.post("/items", response_model=HabitItemRead)
    async def create(session: Session) -> HabitItem:
        item = HabitItem(name="cup")
        session.add(item)
        await session.flush()
        return item

    async def undone() -> AsyncIterator[Any]:
        async with database.write() as session:
            yield session
            await session.rollback()

    service = new_service(router)
    service.dependency_overrides[get_session] = undone
    async with client_of(service) as client:
        assert (await client.post("/items")).json()["id"] == 1
    assert await names() == []


async def test_get_read_session_is_overridden(router: APIRouter, new_service: Any, database: Database) -> None:
    @router.get("/items")
    async def read(session: ReadSession) -> list[str]:
        return list(await session.exec(select(HabitItem.name)))

    async def pending() -> AsyncIterator[Any]:
        async with database.write() as session:
            session.add(HabitItem(name="unsaved"))
            yield session

    service = new_service(router)
    service.dependency_overrides[get_read_session] = pending
    async with client_of(service) as client:
        assert (await client.get("/items")).json() == ["unsaved"]


async def test_get_caller_is_overridden_for_permissions_and_for_the_caller(router: APIRouter, new_service: Any) -> None:
    @router.get("/me")
    async def read(caller: Caller) -> int | None:
        return None if caller is None else caller.id

    service = new_service(router, auth=True)
    async with client_of(service) as client:
        assert (await client.get("/me")).status_code == 401
        service.dependency_overrides[get_caller] = lambda: Principal(SUPERUSER_ID, frozenset({"superuser"}))
        assert (await client.get("/me")).json() == SUPERUSER_ID
        service.dependency_overrides[get_caller] = lambda: None
        assert (await client.get("/me")).status_code == 401


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_get_caller_is_overridden_for_ownership_and_privacy(router: APIRouter, new_service: Any) -> None:
    @router.post("/items", response_model=HabitItemRead)
    async def create(session: Session, caller: Caller) -> HabitItem:
        assert caller is not None
        item = HabitItem(name="cup", owner_id=caller.id)
        session.add(item)
        return item

    @router.patch("/items/{item_id}", response_model=HabitItemRead)
    async def update(item_id: int, session: Session) -> HabitItem:
        item = found(await session.get(HabitItem, item_id))
        item.size = 5
        return item

    service = new_service(router, auth=True)
    async with client_of(service) as client:
        assert "diary" in (await client.post("/items", headers=bearer(MEMBER))).json()
        service.dependency_overrides[get_caller] = lambda: Principal(OTHER)
        assert (await client.patch("/items/1")).status_code == 403
        service.dependency_overrides[get_caller] = lambda: Principal(MEMBER)
        assert (await client.patch("/items/1")).json()["diary"] == "hush"


async def test_an_override_may_take_the_session(router: APIRouter, new_service: Any) -> None:
    @router.get("/colour")
    async def read(value: Annotated[str, Depends(colour)]) -> str:
        return value

    async def stored(session: Session) -> str:
        session.add(HabitItem(name="green"))
        await session.flush()
        return str((await session.exec(select(HabitItem.name))).one())

    service = new_service(router)
    service.dependency_overrides[colour] = stored
    async with client_of(service) as client:
        assert (await client.get("/colour")).json() == "green"


async def caller_of_header(x_user: Annotated[int, Header()]) -> Principal:
    """Return an override with a parameter."""
    if x_user == 0:
        raise HTTPException(401, "Who?")
    return Principal(x_user, frozenset({"superuser"}))


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
@pytest.mark.parametrize("auth", [True, False])
async def test_keys_of_different_overriding_callers_are_separate(
    router: APIRouter, new_service: Any, names: Any, auth: bool
) -> None:
    @router.post("/items")
    async def create(session: Session, caller: Caller) -> int:
        session.add(HabitItem(name="cup"))
        return 0 if caller is None else caller.id or 0

    service = new_service(router, auth=auth)
    service.dependency_overrides[get_caller] = caller_of_header
    async with client_of(service) as client:
        for user in (MEMBER, OTHER, MEMBER):
            answer = await client.post("/items", headers={"Idempotency-Key": "k", "X-User": str(user)})
            assert answer.json() == user
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert await names() == ["cup", "cup"]
        assert (await client.post("/items", headers={"Idempotency-Key": "k", "X-User": "0"})).status_code == 401
        assert (await client.post("/items", headers={"Idempotency-Key": "k"})).status_code == 422


class StockBook(Read):
    title: str
    author: "StockAuthor | None"


class StockAuthor(Read):
    name: str


class StockBookCreate(Body):
    title: str = Field(max_length=20)
    author_id: int | None = None


class StockBookQuery(ListQuery):
    model = HabitBook
    read = StockBook
    sorts = ("title",)
    search = ("title",)


class StockAuthorQuery(ListQuery):
    model = HabitAuthor
    read = StockAuthor
    sorts = ("name",)
    includes: ClassVar[dict[str, str]] = {"books": "StockBook"}


@pytest.fixture(params=[sqlalchemy.ext.asyncio.AsyncSession, AsyncSession], ids=["sqlalchemy", "sqlmodel"])
async def own_session(request: pytest.FixtureRequest, database: Database) -> Any:
    """Provide a dependency that yields a session of SQLAlchemy or SQLModel. There is one row in two tables."""
    async with database.write() as session, session.begin():
        session.add(HabitAuthor(name="Ann", books=[HabitBook(title="a")]))

    async def opened() -> AsyncIterator[Any]:
        async with request.param(database.writer, expire_on_commit=False) as session:
            yield session
            await session.commit()

    return opened


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_lists_are_read_by_other_sessions(router: APIRouter, new_service: Any, own_session: Any) -> None:
    @router.get("/books", response_model=list[StockBook])
    async def books(query: Annotated[StockBookQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, select(HabitBook))

    @router.get("/authors", response_model=list[StockAuthor])
    async def authors(query: Annotated[StockAuthorQuery, Depends()], session: ReadSession) -> Page:
        options = joinedload(HabitAuthor.books)  # type: ignore[arg-type]
        return await page(session, query, select(HabitAuthor).options(options))

    service = new_service(router)
    service.dependency_overrides[get_read_session] = own_session
    async with client_of(service) as client:
        for parameters in ("count=true", "q=a&count=estimated", "offset=0&sort=-title"):
            (book,) = (await client.get(f"/books?{parameters}")).json()
            assert book["author"]["name"] == "Ann"
        (author,) = (await client.get("/authors?include=books")).json()
        assert author["books"][0]["title"] == "a"


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_many_rows_are_created_by_other_sessions(
    router: APIRouter, new_service: Any, own_session: Any, database: Database
) -> None:
    @router.post("/books/bulk", response_model=list[StockBook], status_code=201)
    async def create(new: Batch[StockBookCreate], session: Session, on_error: OnError) -> Many:
        return await create_many(session, new, on_error, HabitBook)

    service = new_service(router)
    service.dependency_overrides[get_session] = own_session
    async with client_of(service) as client:
        assert (await client.post("/books/bulk?on_error=abort", json=[{"title": "b"}])).status_code == 201
        new = [{"title": "c"}, {"title": "d", "author_id": 7}]
        assert (await client.post("/books/bulk?on_error=skip", json=new)).status_code == 207
    async with database.read() as session:
        assert list(await session.exec(select(HabitBook.title).order_by(col(HabitBook.title)))) == ["a", "b", "c"]
