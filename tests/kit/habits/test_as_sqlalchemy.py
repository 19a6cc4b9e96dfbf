"""SQLAlchemy's documented `AsyncSession`: each case is compared with a session of SQLAlchemy itself."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import (
    Integer,
    bindparam,
    case,
    cast,
    delete,
    event,
    exists,
    func,
    insert,
    inspect,
    literal,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.exc import (
    IntegrityError,
    InvalidRequestError,
    MissingGreenlet,
    MultipleResultsFound,
    NoResultFound,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_object_session, create_async_engine
from sqlalchemy.orm import (
    Session as SyncSession,
)
from sqlalchemy.orm import (
    aliased,
    contains_eager,
    defer,
    joinedload,
    load_only,
    make_transient,
    object_session,
    raiseload,
    selectinload,
    subqueryload,
    undefer,
    with_loader_criteria,
)
from sqlmodel import select

from kit import Database, ReadSession, Session
from tests.engines import empty, url_for
from tests.kit.habits.items import TABLES, HabitAuthor, HabitBook, HabitBox

pytestmark = pytest.mark.exhaustive

Case = Callable[[Any], Awaitable[Any]]
READS: dict[str, Case] = {}
WRITES: dict[str, Case] = {}
RAISED: dict[str, tuple[type[Exception], ...]] = {}
"""The exceptions of those cases that raise, so that no other exception is compared unnoticed."""
Author: Any = HabitAuthor
Book: Any = HabitBook
AUTHORS = select(HabitAuthor).order_by(Author.id)
BOOKS = select(HabitBook).order_by(Book.id)


def reads(case: Case) -> Case:
    """Register a case for read sessions and write sessions."""
    READS[case.__name__] = case
    return case


def writes(case: Case) -> Case:
    WRITES[case.__name__] = case
    return case


def raises(*failures: type[Exception]) -> Callable[[Case], Case]:
    """Register the exception that a case raises, if there are several one of them."""

    def register(case: Case) -> Case:
        RAISED[case.__name__] = failures
        return case

    return register


async def outcome(case: Case, session: Any) -> Any:
    """Return the result of a case, or the class of the exception that it is registered to raise."""
    expected = RAISED.get(case.__name__)
    if expected is None:
        return await case(session)
    with pytest.raises(expected) as failure:
        await case(session)
    return failure.type.__name__


# Reading


@reads
@raises(NoResultFound)
async def one_of_none(session: Any) -> Any:
    return (await session.scalars(select(HabitAuthor).where(Author.name == "Nobody"))).one()


@reads
@raises(MultipleResultsFound)
async def one_of_many(session: Any) -> Any:
    return (await session.scalars(AUTHORS)).one()


@reads
@raises(MultipleResultsFound)
async def one_or_none_of_many(session: Any) -> Any:
    return (await session.execute(AUTHORS)).scalar_one_or_none()


@reads
@raises(NoResultFound)
async def get_one_of_none(session: Any) -> Any:
    return await session.get_one(HabitAuthor, 99)


@reads
async def identity(session: Any) -> Any:
    got, again = await session.get(HabitAuthor, 1), await session.get(HabitAuthor, 1)
    selected = (await session.scalars(AUTHORS)).first()
    joined = (await session.execute(select(HabitAuthor, HabitBook).join(HabitBook))).first()[0]
    return [got is again, got is selected, got is joined]


@reads
async def identities(session: Any) -> Any:
    return [
        (await session.get(HabitAuthor, ident)).name
        for ident in (1, (1,), {"id": 1}, inspect(HabitAuthor).identity_key_from_primary_key((1,))[1])
    ]


@reads
async def state_of_a_row(session: Any) -> Any:
    row = await session.get(HabitAuthor, 1)
    state = inspect(row)
    return [
        state.persistent,
        row in session,
        session.is_modified(row),
        len(session.dirty),
        state.identity,
        sorted(state.unloaded),
        object_session(row) is session.sync_session,
        len(list(session)),
    ]


@reads
async def load_of_a_collection(session: Any) -> Any:
    return [
        [book.title for book in author.books]
        for author in await session.scalars(AUTHORS.options(selectinload(Author.books)))
    ]


@reads
async def load_by_get(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1, options=[selectinload(Author.books).joinedload(Book.author)])
    return [book.author.name for book in author.books]


@reads
async def load_by_join(session: Any) -> Any:
    authors = (await session.scalars(AUTHORS.options(joinedload(Author.books)))).unique().all()
    return [len(author.books) for author in authors]


@reads
@raises(InvalidRequestError)
async def load_by_join_without_unique(session: Any) -> Any:
    return (await session.scalars(AUTHORS.options(joinedload(Author.books)))).all()


@reads
async def load_by_subquery(session: Any) -> Any:
    return [len(author.books) for author in await session.scalars(AUTHORS.options(subqueryload(Author.books)))]


@reads
async def load_of_a_join(session: Any) -> Any:
    statement = AUTHORS.join(Author.books).where(Book.pages > 100).options(contains_eager(Author.books))
    return [[book.title for book in author.books] for author in (await session.scalars(statement)).unique()]


@reads
@raises(InvalidRequestError)
async def load_that_is_refused(session: Any) -> Any:
    return (await session.scalars(AUTHORS.options(raiseload(Author.books)))).first().books


@reads
@raises(MissingGreenlet, StatementError)
async def lazy_load(session: Any) -> Any:
    return (await session.get(HabitAuthor, 1)).books


@reads
async def awaitable_attributes(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    return [book.title for book in await author.awaitable_attrs.books]


@reads
async def lazy_load_in_run_sync(session: Any) -> Any:
    return await session.run_sync(lambda sync: [book.title for book in sync.get(HabitAuthor, 1).books])


@reads
async def query_in_run_sync(session: Any) -> Any:
    return await session.run_sync(lambda sync: sync.scalars(select(HabitAuthor).filter_by(name="Ann")).one().id)


@reads
async def refresh_of_a_relationship(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    await session.refresh(author, ["books"])
    return len(author.books)


@reads
async def hybrid(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    found = (await session.scalars(AUTHORS.where(Author.initial == "B"))).all()
    return [author.initial, [other.name for other in found]]


@reads
async def column_property_of_get(session: Any) -> Any:
    return (await session.get(HabitAuthor, 1)).count_of_books


@reads
async def column_property_of_select(session: Any) -> Any:
    found = await session.scalars(AUTHORS.where(Author.count_of_books > 0))
    return [(author.name, author.count_of_books) for author in found]


@reads
async def association_of_a_collection(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1, options=[selectinload(Author.books)])
    found = (await session.scalars(AUTHORS.where(Author.titles.contains("Two")))).all()
    return [list(author.titles), [other.name for other in found]]


@reads
async def expunged_row(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    session.expunge(author)
    before = [author.name, author in session, inspect(author).detached]
    try:
        return [*before, author.books]
    except Exception as failure:
        return [*before, type(failure).__name__]


@reads
async def expired_row(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    session.expire(author)
    try:
        missing = author.name
    except Exception as failure:
        missing = type(failure).__name__
    await session.refresh(author)
    return [missing, author.name]


@reads
async def expired_attribute(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    session.expire(author, ["name"])
    await session.refresh(author, ["name"])
    return author.name


@reads
async def expunge_all(session: Any) -> Any:
    before = await session.get(HabitAuthor, 1)
    session.expunge_all()
    return before is await session.get(HabitAuthor, 1)


@reads
async def info_of_a_session(session: Any) -> Any:
    session.info["user"] = 7
    return session.info["user"]


@reads
async def deferred_columns(session: Any) -> Any:
    narrow = (await session.scalars(BOOKS.options(load_only(Book.title)))).first()
    without = await session.get(HabitBook, 2, options=[defer(Book.title)])
    wide = (await session.scalars(AUTHORS.options(undefer(Author.name)))).first()
    return [sorted(inspect(narrow).unloaded), sorted(inspect(without).unloaded), wide.name]


@reads
async def results(session: Any) -> Any:
    columns = select(HabitBook.title, HabitBook.pages).order_by(Book.id)
    mappings = [dict(row) for row in (await session.execute(columns)).mappings()]
    tuples = [tuple(row) for row in await session.execute(columns)]
    many = [tuple(row) for row in (await session.execute(columns)).fetchmany(2)]
    parts = [len(part) for part in (await session.execute(columns)).partitions(2)]
    row = (await session.execute(columns)).first()
    named = [row.title, row[1], row._mapping["pages"], list((await session.execute(columns)).keys())]
    return [mappings, tuples, many, parts, named, (await session.execute(columns)).scalars(1).all()]


@reads
async def statements(session: Any) -> Any:
    other = aliased(HabitBook)
    size = case((Book.pages > 100, "long"), else_="short")
    cte = select(Book.author_id, func.sum(Book.pages).label("pages")).group_by(Book.author_id).cte("sums")
    found = [
        select(func.count()).select_from(HabitBook),
        select(size).order_by(Book.id),
        select(Author.name, cte.c.pages).join(cte, cte.c.author_id == Author.id).order_by(Author.name),
        select(Book.author_id).group_by(Book.author_id).having(func.count() > 1).order_by(Book.author_id),
        select(Author.name).where(exists().where(Book.author_id == Author.id)).order_by(Author.name),
        union_all(select(literal(1)), select(literal(2))).order_by(text("1")),
        select(func.count()).select_from(HabitBook).join(other, other.pages == Book.pages),
        select(Book.title).where(tuple_(Book.author_id, Book.pages).in_([(1, 100)])),
        select(cast(Book.title, Integer)).where(literal(False)),
        select(Book.title).where(Book.title.in_([])),
        select(Book.title).order_by(Book.title.desc()).limit(1).offset(1),
        select(Book.title).where(Book.id == bindparam("wanted")).params(wanted=2),
        text("SELECT title FROM habit_book WHERE id = :id").bindparams(id=1),
        text("SELECT pages FROM habit_book WHERE id = 1").columns(pages=Integer),
        select(Book.__table__.c.title).order_by(Book.__table__.c.id),
        select(func.row_number().over(order_by=Book.id)).order_by(Book.id),
    ]
    return [[list(row) for row in (await session.execute(statement)).all()] for statement in found]


@reads
async def parameters(session: Any) -> Any:
    statement = select(Book.title).where(Book.id == bindparam("wanted"))
    given = await session.execute(statement, {"wanted": 3})
    return [given.scalar_one(), await session.scalar(statement, {"wanted": 1})]


@reads
async def entities_and_columns(session: Any) -> Any:
    statement = select(HabitAuthor, HabitBook.title).join(HabitBook).order_by(Book.id)
    return [[author.name, title] for author, title in await session.execute(statement)]


@reads
async def streams(session: Any) -> Any:
    rows = [row.title async for row in await session.stream_scalars(BOOKS)]
    parts = [len(part) async for part in (await session.stream(BOOKS)).partitions(2)]
    in_parts = BOOKS.execution_options(yield_per=1)
    return [rows, parts, await session.run_sync(lambda sync: [book.title for book in sync.scalars(in_parts)])]


@reads
async def connection(session: Any) -> Any:
    connection = await session.connection()
    return [
        (await connection.execute(select(HabitBook.title).order_by(Book.id))).scalars().all(),
        session.in_transaction(),
    ]


@reads
async def transient_copy(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    make_transient(author)
    return [inspect(author).transient, author.name]


@reads
async def criteria(session: Any) -> Any:
    option = with_loader_criteria(HabitBook, Book.pages > 100)
    return [book.title for book in await session.scalars(BOOKS.options(option))]


@reads
async def populate_existing(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    again = await session.get(HabitAuthor, 1, populate_existing=True)
    return author is again


@reads
async def closed_session(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    await session.close()
    other = await session.get(HabitAuthor, 1)
    return [author is other, inspect(author).detached, other.name]


@reads
async def commit_and_rollback_of_a_read(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1)
    await session.commit()
    name = author.name
    await session.rollback()
    return [name, (await session.get(HabitAuthor, 1)).name]


@reads
async def wrong_statements(session: Any) -> Any:
    failures = []
    for statement in (
        text("SELECT nonsense FROM habit_book"),
        select(Book.title).where(text("no = 1")),
    ):
        try:
            await session.execute(statement)
        except Exception as failure:
            failures.append(type(failure).__name__)
            await session.rollback()
    return [failures, (await session.scalar(select(func.count()).select_from(HabitBook)))]


# Writing


@writes
async def savepoints(session: Any) -> Any:
    async with session.begin_nested():
        session.add(HabitBox(name="kept"))
    try:
        async with session.begin_nested():
            session.add(HabitBox(name="kept"))
    except IntegrityError:
        pass
    nested = await session.begin_nested()
    session.add(HabitBox(name="undone"))
    await session.flush()
    await nested.rollback()
    session.add(HabitBox(name="last"))


@writes
async def rollback_and_go_on(session: Any) -> Any:
    box = HabitBox(name="undone")
    session.add(box)
    await session.flush()
    await session.rollback()
    states = [inspect(box).transient, box in session]
    session.add(HabitBox(name="kept"))
    return states


@writes
async def failed_flush(session: Any) -> Any:
    session.add_all([HabitBox(name="a"), HabitBox(name="a")])
    try:
        await session.flush()
    except IntegrityError:
        await session.rollback()
    session.add(HabitBox(name="b"))


@writes
async def autoflush(session: Any) -> Any:
    session.add(HabitBox(name="pending"))
    count = select(func.count()).select_from(HabitBox)
    with session.no_autoflush:
        before = await session.scalar(count)
    return [before, await session.scalar(count)]


@writes
async def pending_row_that_is_expunged(session: Any) -> Any:
    box = HabitBox(name="gone")
    session.add(box)
    session.expunge(box)
    return [box in session, len(session.new)]


@writes
async def rows_by_a_relationship(session: Any) -> Any:
    author = Author(name="Cy", books=[HabitBook(title="New")])
    session.add(author)
    await session.flush()
    author.books.append(HabitBook(title="Newer", author=author))
    await session.flush()
    await session.refresh(author, ["count_of_books"])
    return [author.count_of_books, list(author.titles)]


@writes
async def cascade(session: Any) -> Any:
    author = await session.get(HabitAuthor, 1, options=[selectinload(Author.books)])
    await session.delete(author)
    await session.flush()
    return [inspect(author).deleted, await session.scalar(select(func.count()).select_from(HabitBook))]


@writes
async def move_of_a_row(session: Any) -> Any:
    book = await session.get(HabitBook, 1, options=[joinedload(Book.author)])
    book.author = await session.get(HabitAuthor, 2)
    await session.flush()
    return book.author_id


@writes
async def merge(session: Any) -> Any:
    merged = await session.merge(HabitBook(id=1, title="Merged", version=1, author_id=1))
    return [merged.title, merged in session, (await session.get(HabitBook, 1)) is merged]


@writes
async def changes_by_statement(session: Any) -> Any:
    book = await session.get(HabitBook, 1)
    changed = await session.execute(update(HabitBook).where(Book.pages == 100).values(pages=Book.pages + 1))
    await session.refresh(book)
    returned = (await session.scalars(insert(HabitBox).values(name="x", version=1).returning(HabitBox))).one()
    many = await session.scalars(
        insert(HabitBox).returning(HabitBox), [{"name": "y", "version": 1}, {"name": "z", "version": 1}]
    )
    removed = (await session.execute(delete(HabitBook).where(Book.id == 2).returning(Book.title))).all()
    return [changed.rowcount, book.pages, returned.name, sorted(box.name for box in many), [row[0] for row in removed]]


@writes
async def update_in_bulk(session: Any) -> Any:
    rows = [{"id": 1, "title": "A", "version": 1}, {"id": 2, "title": "B", "version": 1}]
    await session.execute(update(HabitBook), rows)
    return [book.title for book in await session.scalars(BOOKS)]


@writes
async def commit_and_go_on(session: Any) -> Any:
    book = await session.get(HabitBook, 1)
    book.title = "Committed"
    await session.commit()
    title = book.title
    book.title = "Again"
    await session.commit()
    return [title, book.version]


@writes
async def begin_as_a_block(session: Any) -> Any:
    async with session.begin():
        session.add(HabitBox(name="one"))
    async with session.begin():
        session.add(HabitBox(name="two"))
    return session.in_transaction()


@writes
async def history_of_a_row(session: Any) -> Any:
    book = await session.get(HabitBook, 1)
    book.title = "New"
    history = inspect(book).attrs.title.history
    return [session.is_modified(book), len(session.dirty), list(history.added), list(history.deleted)]


@writes
async def expire_all(session: Any) -> Any:
    book = await session.get(HabitBook, 1)
    await session.execute(text("UPDATE habit_book SET title = 'Raw' WHERE id = 1"))
    session.expire_all()
    await session.refresh(book)
    return book.title


@writes
async def stale_row(session: Any) -> Any:
    book = await session.get(HabitBook, 1)
    await session.execute(text("UPDATE habit_book SET version = 7 WHERE id = 1"))
    book.title = "Stale"
    try:
        await session.flush()
    except Exception as failure:
        await session.rollback()
        return type(failure).__name__


@writes
async def locks(session: Any) -> Any:
    book = (await session.scalars(BOOKS.with_for_update().limit(1))).one()
    again = await session.get(HabitBook, 1, with_for_update={"nowait": True})
    await session.refresh(book, with_for_update=True)
    return book is again


@writes
async def bulk_in_run_sync(session: Any) -> Any:
    def save(sync: SyncSession) -> None:
        sync.bulk_save_objects([HabitBox(name="p"), HabitBox(name="q")])
        sync.bulk_insert_mappings(inspect(HabitBox), [{"name": "r", "version": 1}])

    await session.run_sync(save)
    return await session.scalar(select(func.count()).select_from(HabitBox))


@reads
async def state_of_a_row_of_get(session: Any) -> Any:
    row = await session.get(HabitBook, 1)
    state = inspect(row)
    return [state.persistent, state.transient, state.modified]


@reads
async def session_of_a_row(session: Any) -> Any:
    row = await session.get(HabitBook, 1)
    return [async_object_session(row) is session, inspect(row).session is session.sync_session, row in session]


@reads
async def change_of_a_row_that_was_read(session: Any) -> Any:
    row = await session.get(HabitBook, 1)
    row.title = "Changed"
    found = [session.is_modified(row), [book.title for book in session.dirty]]
    session.expunge(row)
    return found


@writes
async def state_of_a_new_row(session: Any) -> Any:
    box = HabitBox(name="new")
    session.add(box)
    state = inspect(box)
    return [state.pending, state.transient, state.modified, state.session is session.sync_session]


@writes
async def session_of_a_new_row(session: Any) -> Any:
    box = HabitBox(name="new")
    session.add(box)
    session.add(box)
    box.name = "newer"
    return [object_session(box) is session.sync_session, async_object_session(box) is session, len(session.new)]


@writes
async def new_row_of_another_session(session: Any) -> Any:
    box = HabitBox(name="new")
    session.add(box)
    other = AsyncSession()
    with pytest.raises(InvalidRequestError):
        other.add(box)
    return [box in other, box in session]


@writes
async def new_row_that_is_made_transient(session: Any) -> Any:
    box = HabitBox(name="new")
    session.add(box)
    make_transient(box)
    return [inspect(box).transient, len(session.new)]


# The comparison


@pytest.fixture
async def renew(database: Database) -> Callable[[], Awaitable[None]]:
    """Restore the rows with which every case begins."""

    async def make() -> None:
        await empty(database, TABLES)
        async with database.write() as session:
            session.add_all([HabitAuthor(name="Ann"), HabitAuthor(name="Bob")])
            await session.flush()
            for title, pages, author in (("One", 100, 1), ("Two", 200, 1), ("Three", 300, 2)):
                session.add(HabitBook(title=title, pages=pages, author_id=author))
                await session.flush()
            await session.commit()

    return make


@pytest.fixture
async def engine_of_ones_own(habits_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url_for(habits_url))
    yield engine
    await engine.dispose()


async def stored(database: Database) -> list[Any]:
    """Return all rows, without their timestamps."""
    statements = (
        "SELECT id, version, title, pages, author_id FROM habit_book ORDER BY id",
        "SELECT id, version, name FROM habit_author ORDER BY id",
        "SELECT version, name FROM habit_box ORDER BY name",
    )
    async with database.connect() as connection:
        return [[list(row) for row in await connection.execute(text(statement))] for statement in statements]


def jsonable(value: Any) -> Any:
    """Return the value as FastAPI shows it: a sum of integers is a `Decimal` on PostgreSQL, which becomes text."""
    if isinstance(value, (list, tuple)):
        return [jsonable(part) for part in value]
    return str(value) if isinstance(value, Decimal) else value


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # by a lazy load
@pytest.mark.parametrize("name", READS)
async def test_a_session_reads_as_a_session_of_sqlalchemy(
    router: APIRouter, serve: Any, renew: Any, engine_of_ones_own: AsyncEngine, name: str
) -> None:
    @router.get("/read")
    async def read(session: ReadSession) -> Any:
        return await outcome(READS[name], session)

    @router.post("/write")
    async def write(session: Session) -> Any:
        return await outcome(READS[name], session)

    await renew()
    async with AsyncSession(engine_of_ones_own, expire_on_commit=False) as session:
        expected = jsonable(await outcome(READS[name], session))
    client = await serve(router)
    assert (await client.get("/read")).json() == expected
    assert (await client.post("/write")).json() == expected
    if name == expired_row.__name__:
        gc.collect()  # otherwise a later test frees the coroutines that were never awaited, and gets their warnings


@pytest.mark.parametrize("name", WRITES)
async def test_a_session_writes_as_a_session_of_sqlalchemy(
    router: APIRouter, serve: Any, renew: Any, database: Database, engine_of_ones_own: AsyncEngine, name: str
) -> None:
    @router.post("/write")
    async def write(session: Session) -> Any:
        return await outcome(WRITES[name], session)

    await renew()
    async with AsyncSession(engine_of_ones_own, expire_on_commit=False) as session:
        expected = jsonable(await outcome(WRITES[name], session))
        await session.commit()
    rows = await stored(database)
    await engine_of_ones_own.dispose()
    await renew()
    client = await serve(router)
    answer = await client.post("/write")
    assert (answer.status_code, answer.json()) == (200, expected)
    assert await stored(database) == rows


async def test_listeners_of_every_session_are_called(router: APIRouter, serve: Any, renew: Any) -> None:
    heard: list[str] = []

    @router.get("/read")
    async def read(session: ReadSession) -> list[str]:
        await session.get(HabitBook, 1)
        return [book.title for book in await session.scalars(BOOKS)]

    @router.post("/write")
    async def write(session: Session) -> None:
        session.add(HabitBox(name="a"))

    def only_long(state: Any) -> None:
        heard.append("do_orm_execute")
        if state.is_select and not state.is_column_load:
            state.statement = state.statement.options(with_loader_criteria(HabitBook, Book.pages > 100))

    def note(*_: object) -> None:
        heard.append("after_flush")

    await renew()
    client = await serve(router)
    assert (await client.get("/read")).json() == ["One", "Two", "Three"]
    event.listen(SyncSession, "do_orm_execute", only_long)
    event.listen(SyncSession, "after_flush", note)
    try:
        assert (await client.get("/read")).json() == ["Two", "Three"]
        assert (await client.post("/write")).status_code == 200
    finally:
        event.remove(SyncSession, "do_orm_execute", only_long)
        event.remove(SyncSession, "after_flush", note)
    assert {"do_orm_execute", "after_flush"} == set(heard)
    assert (await client.get("/read")).json() == ["One", "Two", "Three"]
