"""Versions: every way in which SQLAlchemy changes a row raises its version by one, and keeps loaded rows right."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter
from sqlalchemy import bindparam, insert, inspect, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.exc import StaleDataError, UnmappedInstanceError
from sqlmodel import Field

from kit import Database, IfMatch, Name, Read, ReadSession, Session, found
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import HabitAuthor, HabitBook, HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
Change = Callable[[Any], Awaitable[Any]]
Author: Any = HabitAuthor
Book: Any = HabitBook
BOOKS: Any = inspect(HabitBook).local_table
TITLED = update(HabitBook).where(Book.pages == 100).values(title="New")
CHANGES: dict[str, Change] = {}


class HabitBookRead(Read):
    title: str
    version: int


class HabitCoinRead(Read):
    name: str
    version: int


class HabitCoin(HabitEntity, table=True):
    """A table whose version SQLAlchemy leaves to the program or the database."""

    __tablename__ = "habit_coin"
    __mapper_args__: ClassVar[Any] = {"version_id_generator": False}
    name: Name = Field(max_length=20)


def change(made: Change) -> Change:
    CHANGES[made.__name__] = made
    return made


def upsert_of(session: Any) -> Any:
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    return make(HabitBook)


@change
async def by_attribute(session: Any) -> None:
    (await session.get(HabitBook, 1)).title = "New"
    await session.flush()


@change
async def by_update(session: Any) -> None:
    await session.exec(TITLED)


@change
async def by_evaluation(session: Any) -> None:
    await session.exec(TITLED, execution_options={"synchronize_session": "evaluate"})


@change
async def by_fetching(session: Any) -> None:
    await session.exec(TITLED.execution_options(synchronize_session="fetch"))


@change
async def without_synchronization(session: Any) -> None:
    await session.exec(TITLED, execution_options={"synchronize_session": False})


@change
async def by_returning(session: Any) -> None:
    assert (await session.scalars(TITLED.returning(HabitBook))).one().version == 2


@change
async def by_update_from(session: Any) -> None:
    await session.exec(TITLED.where(Author.id == Book.author_id))


@change
async def by_primary_keys(session: Any) -> None:
    await session.execute(update(HabitBook), [{"id": 1, "title": "New", "version": 1}])


@change
async def by_own_version(session: Any) -> None:
    await session.exec(TITLED.values(version=Book.version + 1))


@change
async def by_mappings(session: Any) -> None:
    await session.run_sync(lambda sync: sync.bulk_update_mappings(HabitBook, [{"id": 1, "title": "New", "version": 1}]))
    session.expire_all()  # as for each of SQLAlchemy's bulk methods


@change
async def by_table(session: Any) -> None:
    await session.execute(update(BOOKS).where(BOOKS.c.id == bindparam("key")).values(title="New"), {"key": 1})
    session.expire_all()


@change
async def by_upsert(session: Any) -> None:
    new = upsert_of(session).values(id=1, title="Else")
    await session.execute(new.on_conflict_do_update(index_elements=["id"], set_={"title": "New"}))


@change
async def by_upserts_of_rows(session: Any) -> None:
    new = upsert_of(session)
    shown = {"title": new.excluded.title, Book.version: new.excluded.version}
    upsert = new.on_conflict_do_update(index_elements=["id"], set_=shown).returning(HabitBook.id)
    rows = [{"id": 1, "title": "New", "version": 1}, {"id": 2, "title": "Newer", "version": 1}]
    assert sorted(await session.scalars(upsert, rows)) == [1, 2]


@change
async def by_upsert_of_own_version(session: Any) -> None:
    new = upsert_of(session).values(id=1, title="Else")
    values = {"title": "New", "version": Book.version + 1}
    await session.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))


@change
async def by_merge(session: Any) -> None:
    await session.merge(HabitBook(id=1, title="New"))
    await session.flush()


@change
async def by_merge_of_its_version(session: Any) -> None:
    await session.merge(HabitBook(id=1, title="New", version=1))
    await session.flush()


@change
async def by_merge_of_a_related_row(session: Any) -> None:
    await session.merge(HabitAuthor(id=1, name="Ann", books=[HabitBook(id=1, title="New")]))
    await session.flush()


@pytest.fixture
async def book(database: Database) -> HabitBook:
    """Store a book."""
    async with database.write() as session, session.begin():
        session.add(author := HabitAuthor(name="Ann"))
        await session.flush()
        session.add(book := HabitBook(title="Old", author_id=author.id))
    return book


async def stored(database: Database) -> HabitBook:
    async with database.read() as session:
        return found(await session.get(HabitBook, 1))


@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_raises_the_version_by_one(
    router: APIRouter, serve: Serve, database: Database, book: HabitBook, name: str
) -> None:
    @router.post("/", status_code=204)
    async def make(session: Session) -> None:
        await CHANGES[name](session)

    assert (await (await serve(router)).post("/")).status_code == 204
    changed = await stored(database)
    assert (changed.title, changed.version, changed.updated_at > book.updated_at) == ("New", 2, True)


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("name", CHANGES)
async def test_a_loaded_row_can_be_changed_after_a_statement(
    router: APIRouter, serve: Serve, database: Database, name: str
) -> None:
    @router.post("/", response_model=HabitBookRead)
    async def make(session: Session) -> HabitBook:
        row = found(await session.get(HabitBook, 1))
        await CHANGES[name](session)
        row.title = "Last"
        return row

    made = await (await serve(router)).post("/")
    assert made.json() == {"id": 1, "title": "Last", "version": 3}
    assert (await stored(database)).version == 3


@pytest.mark.usefixtures("book")
async def test_a_version_before_a_statement_is_an_old_one(router: APIRouter, serve: Serve) -> None:
    @router.get("/", response_model=HabitBookRead)
    async def read(session: ReadSession) -> HabitBook:
        return found(await session.get(HabitBook, 1))

    @router.patch("/", response_model=HabitBookRead)
    async def make(session: Session, matching: IfMatch) -> HabitBook:
        row = matching(found(await session.get(HabitBook, 1)))
        await by_update(session)
        return row

    client = await serve(router)
    old = {"If-Match": '"1"'}
    assert (await client.patch("/", headers=old)).json()["version"] == 2
    assert (await client.get("/", headers={"If-None-Match": '"1"'})).status_code == 200
    assert (await client.patch("/", headers=old)).status_code == 412


@pytest.mark.usefixtures("book")
async def test_a_row_that_was_changed_elsewhere_stays_stale(new_service: Any, database: Database) -> None:
    new_service()
    async with database.write() as session:
        row = found(await session.get(HabitBook, 1, with_for_update=False))
        set_committed_value(row, "version", 7)
        await without_synchronization(session)
        assert row.version == 7


@pytest.mark.usefixtures("book")
async def test_an_insert_changes_no_version(new_service: Any, database: Database) -> None:
    new_service()
    async with database.write() as session:
        row = found(await session.get(HabitBook, 1))
        await session.execute(insert(HabitBook), [{"title": "Another", "version": 1}])
        assert row.version == 1


@pytest.mark.usefixtures("book")
async def test_a_row_of_any_version_can_be_merged(router: APIRouter, serve: Serve, database: Database) -> None:
    @router.put("/{ident}", response_model=HabitBookRead)
    async def put(ident: int, title: str, session: Session) -> HabitBook:
        merged, _ = await session.merge_all([given := HabitBook(id=ident, title=title), HabitBook(id=9, title="Nine")])
        assert (given.title, given.version, given in session) == (title, 1, False)
        return merged

    created = (await stored(database)).created_at
    client = await serve(router)
    for version, title in enumerate(("A", "B", "C"), 2):
        assert (await client.put(f"/1?title={title}")).json() == {"id": 1, "title": title, "version": version}
    assert (await stored(database)).created_at == created
    assert (await client.put("/2?title=New")).json() == {"id": 2, "title": "New", "version": 1}


@pytest.mark.usefixtures("book")
async def test_a_merge_of_an_older_version_is_refused(database: Database, new_service: Any) -> None:
    new_service()
    async with database.read() as reader:
        old = found(await reader.get(HabitBook, 1))
    for given in (old, HabitBook(id=1, title="Mine", version=1)):
        async with database.write() as session, session.begin():
            await by_update(session)
            await by_attribute(session)
            with pytest.raises(StaleDataError):
                await session.merge(given)
            with pytest.raises(UnmappedInstanceError):
                await session.merge(object())


async def test_a_version_that_sqlalchemy_leaves_alone_is_raised_too(router: APIRouter, serve: Serve) -> None:
    @router.post("/", response_model=HabitCoinRead)
    async def create(session: Session) -> HabitCoin:
        session.add(coin := HabitCoin(id=1, name="Old"))
        return coin

    @router.patch("/", response_model=HabitCoinRead)
    async def make(name: str, session: Session) -> HabitCoin:
        coin = found(await session.get(HabitCoin, 1))
        coin.name = name
        return coin

    client = await serve(router)
    assert (await client.post("/")).headers["etag"] == '"1"'
    changed = await client.patch("/?name=New")
    assert (changed.json(), changed.headers["etag"]) == ({"id": 1, "name": "New", "version": 2}, '"2"')
