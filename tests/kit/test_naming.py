"""Naming: constraints and indexes have distinct names, from which an error finds the field."""

from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, UniqueConstraint

from kit.database.constraints import fields_named
from kit.database.migrating import engine_for
from kit.models.naming import NAMES
from tests.engines import url_for


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
