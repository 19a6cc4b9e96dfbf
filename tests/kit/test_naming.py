"""Naming: constraints and indexes have distinct names, from which an error finds the field."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Index, Integer, MetaData, String, Table, UniqueConstraint, and_, text
from sqlalchemy import literal_column as literal
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from kit.database.constraints import fields_named
from kit.database.error_responses import problem_of
from kit.database.migrating import engine_for
from kit.models.naming import NAMES
from tests.engines import url_for

pytestmark = pytest.mark.no_fast_path


def table_with(*things: Index | UniqueConstraint, name: str = "loan", indexed: bool = False) -> Table:
    metadata = MetaData(naming_convention=NAMES)
    book = Column("book", Integer, index=indexed)
    return Table(name, metadata, Column("id", Integer, primary_key=True), book, Column("day", Integer), *things)


def names(table: Table) -> set[str]:
    things: list[Any] = [*table.constraints, *table.indexes]
    return {str(thing.name) for thing in things} - {f"pk_{table.name}"}


def test_a_name_contains_the_first_field() -> None:
    assert names(table_with(UniqueConstraint("book", "day"))) == {"uq_loan_book"}


def test_unique_constraints_with_the_same_first_field_have_distinct_names() -> None:
    table = table_with(UniqueConstraint("book", "day"), UniqueConstraint("book", "id"), UniqueConstraint("book", "id"))
    assert names(table) == {"uq_loan_book", "uq_loan_book_id", "uq_loan_book_id_2"}


def test_an_indexed_field_may_be_in_sorted_by() -> None:
    assert names(table_with(Index(None, "book", "id"), indexed=True)) == {"ix_loan_book", "ix_loan_book_id"}


def test_indexes_of_two_tables_have_distinct_names() -> None:
    table = table_with(Index(None, "book"), name="long_loan")
    other = Table("long", table.metadata, Column("loan_book", Integer, index=True))
    assert names(table) | names(other) == {"ix_long_loan_book", "ix_long_loan_book_2"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [("uq_loan_book", ["book", "day"]), ("uq_loan_book_id", ["book", "id"]), ("ck_loan_book", ["book"])],
)
def test_an_error_names_all_fields(name: str, fields: list[str]) -> None:
    table = table_with(UniqueConstraint("book", "day"), UniqueConstraint("book", "id"))
    assert fields_named(table, name) == fields


async def test_both_databases_accept_the_names(new_database: Any) -> None:
    uniques = UniqueConstraint("book", "day"), UniqueConstraint("book", "id")
    table = table_with(Index(None, "book", "id"), *uniques, indexed=True)
    engine = engine_for(url_for(await new_database()))
    async with engine.begin() as connection:
        await connection.run_sync(table.metadata.create_all)
    await engine.dispose()


@pytest.fixture
def ferry() -> Iterator[Table]:
    """Provide a table with CHECKs of all forms: of columns, as text, of several fields, of none."""
    name: Column[Any] = Column("name", String)
    here, there, speed = [Column(each, Integer) for each in ("here", "there", "speed")]
    yield Table(
        "ferry", SQLModel.metadata, Column("id", Integer, primary_key=True), name, here, there, speed,
        CheckConstraint(and_(here.between(literal("3"), literal("50")), here != literal("7")), name="here"),
        CheckConstraint("length(name) BETWEEN 3 AND 50 AND name <> 'here'", name="name"),
        CheckConstraint(here != there, name="not_itself"),
        CheckConstraint("CASE WHEN there > 100 THEN speed < 10 ELSE TRUE END", name="slow_if_far"),
        CheckConstraint("1 = 1", name="always"),
    )  # fmt: skip
    SQLModel.metadata.remove(SQLModel.metadata.tables["ferry"])


@pytest.mark.parametrize(
    ("row", "pointers"),
    [
        ({"here": 60}, ["#/here"]),
        ({"name": "a"}, ["#/name"]),
        ({"here": 5, "there": 5}, ["#/here", "#/there"]),
        ({"there": 101, "speed": 10}, ["#/there", "#/speed"]),
        ({"speed": -1}, ["#/speed"]),
    ],
)
async def test_a_violated_check_points_at_its_fields(
    ferry: Table, new_database: Any, row: dict[str, Any], pointers: list[str]
) -> None:
    engine = engine_for(url_for(await new_database()))
    async with engine.begin() as connection:
        await connection.run_sync(ferry.create)
        unnamed = "CHECK (speed > 0)" if connection.dialect.name == "postgresql" else "COLUMN new CHECK (speed > 0)"
        await connection.execute(text(f"ALTER TABLE ferry ADD {unnamed}"))
    with pytest.raises(IntegrityError) as refused:
        async with engine.begin() as connection:
            await connection.execute(ferry.insert().values(**row))
    await engine.dispose()
    problem = problem_of(refused.value)
    assert problem is not None
    assert [error["pointer"] for error in problem.extra["errors"]] == pointers


def test_a_check_without_fields_points_at_the_body(ferry: Table) -> None:
    assert fields_named(ferry, "ck_ferry_always") == []
