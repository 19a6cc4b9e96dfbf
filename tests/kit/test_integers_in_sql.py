"""Integers in SQL: what an UPDATE or INSERT calculates is stored as an integer, the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Integer, MetaData, SmallInteger, func, insert, literal, literal_column, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from kit import Database, Entity
from kit.database.errors import FAILURES, meaning_of
from tests.engines import empty, url_for

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
COMMON: dict[str, Any] = {"version": 1, **dict.fromkeys(("created_at", "updated_at"), datetime(2026, 1, 1, tzinfo=UTC))}


class Counted(Entity, registry=REGISTRY):
    """Base class of the table of these tests."""


class Shelf(Counted, table=True):
    books: int = 5
    weight: float = 2.5
    height: int | None = Field(default=None, sa_type=Integer)
    rows: int = Field(default=1, sa_type=SmallInteger)
    is_full: bool = False
    name: str = Field(default="A", max_length=10)


S: Any = Shelf


@pytest.fixture(scope="module")
async def shelves(new_database: Any) -> AsyncIterator[Database]:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
async def session(shelves: Database) -> AsyncIterator[AsyncSession]:
    """Provide a session of a database with one shelf."""
    await empty(shelves, [S.__table__])
    async with AsyncSession(shelves.writer, expire_on_commit=False) as session:
        session.add(Shelf(id=1000))
        await session.flush()
        session.expunge_all()
        yield session


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (lambda: {"books": S.books / 2}, 3),
        (lambda: {"books": -S.books / 2}, -3),
        (lambda: {"books": S.books * 1.5}, 8),
        (lambda: {"books": S.weight}, 2),
        (lambda: {"books": S.weight * 1}, 2),
        (lambda: {"books": S.weight + 1.2}, 4),
        (lambda: {"books": S.books + 1}, 6),
        (lambda: {"height": S.books}, 5),
        (lambda: {"height": null()}, None),
        (lambda: {"height": literal_column("7")}, 7),
        (lambda: {"height": S.height / 2}, None),
        (lambda: {"rows": S.books * 2}, 10),
        (lambda: {"is_full": S.books > 3}, True),
        (lambda: {"books": select(func.avg(S.books) + 0.5).scalar_subquery()}, 6),
    ],
)
async def test_an_expression_is_stored_as_an_integer(
    session: AsyncSession, values: Callable[[], dict[str, Any]], expected: int | None
) -> None:
    ((name, value),) = values().items()
    await session.execute(update(Shelf).values({name: value}).execution_options(synchronize_session=False))
    stored = await session.scalar(select(S.__table__.c[name]))
    assert (stored, type(stored)) == (expected, type(expected))


@pytest.mark.parametrize(
    "values",
    [
        lambda: {"books": literal(2**62) * 4},
        lambda: {"books": S.weight * 1e30},
        lambda: {"height": S.books + 2**31},
        lambda: {"rows": S.books + 2**15},
    ],
)
async def test_an_integer_that_its_column_cannot_hold_is_refused(
    session: AsyncSession, values: Callable[[], dict[str, Any]]
) -> None:
    with pytest.raises(DBAPIError) as caught:
        await session.execute(update(Shelf).values(values()).execution_options(synchronize_session=False))
    assert meaning_of(caught.value) == "unbounded"


@pytest.mark.parametrize("values", [lambda: {"books": S.name}, lambda: {"is_full": S.books}])
async def test_a_value_of_another_type_is_refused(session: AsyncSession, values: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(DBAPIError):
        await session.execute(update(Shelf).values(values()).execution_options(synchronize_session=False))


async def test_a_loaded_row_has_the_integer_that_an_update_stored(session: AsyncSession) -> None:
    shelf = await session.get_one(Shelf, 1000)
    await session.execute(update(Shelf).where(S.books > 1).values(books=S.books / 2, name="B"))
    assert (shelf.books, type(shelf.books), shelf.name) == (3, int, "B")


async def test_an_expression_that_is_set_on_a_row_is_stored_as_an_integer(session: AsyncSession) -> None:
    shelf: Any = await session.get_one(Shelf, 1000)
    shelf.books = S.books / 2
    await session.flush()
    assert await session.scalar(select(S.books)) == 3


@pytest.mark.parametrize(
    ("value", "stored"),
    [(3.5, 4), (-3.5, -4), (Decimal("2.5"), 3), (2.4, 2), (1e9, 10**9), (None, None), (True, 1), (2.5, 2)],
)
async def test_a_number_that_code_sets_is_rounded_at_once(session: AsyncSession, value: Any, stored: int) -> None:
    shelf: Any = await session.get_one(Shelf, 1000)
    new: Any = Shelf(id=1001, height=value)
    shelf.height = value
    assert shelf.height == new.height == stored
    session.add(new)
    await session.flush()
    assert list(await session.scalars(select(S.height))) == [stored, stored]


@pytest.mark.parametrize("value", [float("inf"), Decimal("NaN")])
def test_a_number_that_is_not_finite_is_left_to_the_database(value: Any) -> None:
    assert Shelf(height=value).height is value


async def test_rows_are_inserted_with_integers(session: AsyncSession) -> None:
    common = {**COMMON, "weight": 1.0, "rows": 1, "is_full": False, "name": "B"}
    await session.execute(insert(S.__table__).values([{**common, "id": 1050, "books": literal(7) / 2}]))
    names = ["id", "books", *common]
    others = [getattr(S, name) for name in common]
    totals = select(S.id + 100, func.sum(S.books) / 2, *others).where(S.id == 1000).group_by(S.id)
    await session.execute(insert(S.__table__).from_select(names, totals))
    await session.execute(insert(S.__table__).from_select(names[1:], select(S.books, *others).where(S.id == 1000)))
    stored = await session.execute(select(S.books).where(S.id.in_([1050, 1100])).order_by(S.id))
    assert [(value, type(value)) for (value,) in stored] == [(4, int), (3, int)]


async def test_an_upsert_stores_integers(session: AsyncSession) -> None:
    make: Any = {"sqlite": sqlite, "postgresql": postgresql}[session.get_bind().dialect.name].insert
    row = {**COMMON, "id": 1000, "books": 9, "weight": 1.0, "rows": 1, "is_full": False, "name": "B"}
    statement = make(Shelf).values(**row)
    changes = {"books": (statement.excluded.books + S.books) / 4}
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
    assert await session.scalar(select(S.books)) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2.0, 2), (1.5, 2), (2.5, 2), (-1.5, -2), (Decimal("2.5"), 3), (Decimal("-2.5"), -3), (True, 1), (7, 7)],
)
async def test_a_number_is_stored_as_an_integer(session: AsyncSession, value: Any, expected: int) -> None:
    row = {**COMMON, "id": 1050, "weight": 1.0, "rows": value, "is_full": False, "name": "B", "books": value}
    await session.execute(insert(S.__table__).values(row))
    await session.execute(insert(Shelf), [{**row, "id": 1051}])
    await session.execute(update(S.__table__).values(books=value, rows=value).where(S.id == 1000))
    stored = (await session.execute(select(S.books, S.rows))).all()
    assert [(*row, type(row.books)) for row in stored] == [(expected, expected, int)] * 3


@pytest.mark.parametrize("value", ["7", "x", 1e30, float("nan"), Decimal("Infinity"), 2**70])
@pytest.mark.parametrize("name", ["books", "rows"])
async def test_a_value_that_is_no_integer_is_refused(session: AsyncSession, name: str, value: Any) -> None:
    with pytest.raises(FAILURES) as caught:
        await session.execute(update(Shelf).values({name: value}).execution_options(synchronize_session=False))
    assert meaning_of(caught.value) == "unbounded"


async def test_a_condition_compares_numbers_as_they_are(session: AsyncSession) -> None:
    assert await session.scalar(select(func.count()).where(S.books > 4.5)) == 1
    assert await session.scalar(select(func.count()).where(S.books == 5.4)) == 0


@pytest.mark.parametrize("statement", [select(S).limit(-1), select(S).offset(-1), select(S).limit(5).offset(-1)])
async def test_a_negative_limit_is_refused(shelves: Database, statement: Any) -> None:
    for session in (shelves.read(), shelves.write()):
        async with session:
            with pytest.raises(FAILURES) as refused:
                await session.execute(statement)
            assert meaning_of(refused.value) == "unbounded"


async def test_a_limit_may_be_zero(shelves: Database) -> None:
    async with shelves.read() as session:
        assert list(await session.scalars(select(S).limit(0).offset(0))) == []
