"""Refused rows: a constraint that stored rows violate is named, with their number, the first id, and what to write."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import CheckConstraint, Column, Connection, ForeignKey, Index, Integer, String, Table, func, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

from kit.database.migrating import engine_for
from kit.database.refused_rows import RefusedRowsError, explained, refuse_orphans
from tests.engines import on_sqlite, url_for

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]

TABLES = (
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY)",
    "CREATE TABLE entry (id INTEGER PRIMARY KEY, code VARCHAR, amount INTEGER, state VARCHAR, ledger_id INTEGER)",
    "CREATE TABLE plain (code VARCHAR)",
)
ROWS = (
    "INSERT INTO ledger VALUES (1)",
    "INSERT INTO entry VALUES (7, 'a', -1, 'new', 1), (8, 'A', -2, 'new', 9), (9, 'a', NULL, 'old', 9)",
    "INSERT INTO plain VALUES (NULL), (NULL)",
)
CHANGE = " Change these rows first, or in the migration, before the step that fails: "


@pytest.fixture
def models() -> Iterator[None]:
    """Provide the tables of the models, with constraints that the rows of the database violate."""
    tables = [
        Table("ledger", SQLModel.metadata, Column("id", Integer, primary_key=True)),
        Table(
            "entry",
            SQLModel.metadata,
            Column("id", Integer, primary_key=True),
            Column("code", String, unique=True),
            Column("amount", Integer, nullable=False),
            Column("state", String),
            Column("ledger_id", Integer, ForeignKey("ledger.id")),
            CheckConstraint("amount\n> 0", name="positive"),
            Index("ix_entry_state", "state", unique=True, sqlite_where=text("state = 'new'")),
        ),
        Table("plain", SQLModel.metadata, Column("code", String, nullable=False)),
    ]
    Index("ix_entry_lower", func.lower(tables[1].c.code), unique=True)
    yield
    for table in reversed(tables):
        SQLModel.metadata.remove(table)


@pytest.fixture
async def engine_of_rows(models: None, new_database: Any) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(url_for(await new_database()))
    async with engine.begin() as connection:
        for statement in (*TABLES, *ROWS):
            await connection.execute(text(statement))
    yield engine
    await engine.dispose()


async def refused(engine: AsyncEngine, change: Callable[[Operations], None]) -> str:
    """Apply a change, and return the message with which it is refused."""

    def apply(connection: Connection) -> None:
        with explained(connection), connection.begin():
            change(Operations(MigrationContext.configure(connection)))

    async with engine.connect() as connection:
        with pytest.raises(RefusedRowsError) as failure:
            await connection.run_sync(apply)
    return str(failure.value)


def not_null(table: str, column: str) -> Callable[[Operations], None]:
    def change(op: Operations) -> None:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, nullable=False)

    return change


async def test_null_where_a_value_is_required_is_counted(engine_of_rows: AsyncEngine) -> None:
    said = await refused(engine_of_rows, not_null("entry", "amount"))
    assert said.startswith(
        "entry.amount must not be NULL, which does not hold for 1 row, such as the one with the id 9."
    )
    assert CHANGE in said
    assert said.endswith(' entry SET amount = … WHERE …").')


async def test_a_table_without_ids_has_a_number_only(engine_of_rows: AsyncEngine) -> None:
    said = await refused(engine_of_rows, not_null("plain", "code"))
    assert said.startswith("plain.code must not be NULL, which does not hold for 2 rows. Change")


async def test_repeated_values_are_counted(engine_of_rows: AsyncEngine) -> None:
    def unique(op: Operations) -> None:
        with op.batch_alter_table("entry") as batch:
            batch.create_unique_constraint("uq_entry_code", ["code"])

    said = await refused(engine_of_rows, unique)
    assert said.startswith("entry.code must be unique, which does not hold for 2 rows, such as the one with the id 7.")


async def test_repeated_values_of_an_index_are_counted(engine_of_rows: AsyncEngine) -> None:
    said = await refused(
        engine_of_rows, lambda op: op.execute("CREATE UNIQUE INDEX ix_entry_lower ON entry (lower(code))")
    )
    assert said.startswith("entry.code must be unique, which does not hold for 3 rows, such as the one with the id 7.")


@on_sqlite
async def test_the_condition_of_an_index_leaves_rows_out(engine_of_rows: AsyncEngine) -> None:
    index = "CREATE UNIQUE INDEX ix_entry_state ON entry (state) WHERE state = 'new'"
    said = await refused(engine_of_rows, lambda op: op.execute(index))
    assert said.startswith("entry.state must be unique, which does not hold for 2 rows")


async def test_a_violated_check_is_shown_with_its_condition(engine_of_rows: AsyncEngine) -> None:
    def check(op: Operations) -> None:
        with op.batch_alter_table("entry") as batch:
            batch.create_check_constraint("ck_entry_positive", "amount > 0")

    said = await refused(engine_of_rows, check)
    assert said.startswith("entry must satisfy ck_entry_positive (amount > 0), which does not hold for 2 rows, such as")


async def test_rows_that_refer_to_nothing_are_counted(engine_of_rows: AsyncEngine) -> None:
    def key(op: Operations) -> None:
        with op.batch_alter_table("entry") as batch:
            batch.create_foreign_key("fk_entry_ledger_id", "ledger", ["ledger_id"], ["id"])
        if op.get_bind().dialect.name == "sqlite":
            refuse_orphans(op.get_bind())

    said = await refused(engine_of_rows, key)
    assert said.startswith(
        "entry.ledger_id must refer to a row of ledger, which does not hold for 2 rows, such as the one with the id 8."
    )


async def test_a_column_that_the_migration_adds_has_no_number(engine_of_rows: AsyncEngine) -> None:
    SQLModel.metadata.tables["entry"].append_column(Column("fresh", String))

    def fresh(op: Operations) -> None:
        op.add_column("entry", Column("fresh", String))
        not_null("entry", "fresh")(op)

    said = await refused(engine_of_rows, fresh)
    assert said.startswith("entry.fresh must not be NULL, which does not hold for rows that are stored. Change")


async def test_a_constraint_of_no_model_has_the_message_of_the_database(engine_of_rows: AsyncEngine) -> None:
    def strange(op: Operations) -> None:
        op.execute("CREATE TABLE strange (code VARCHAR UNIQUE)")
        op.execute("INSERT INTO strange VALUES ('a'), ('a')")

    assert "unique" in (await refused(engine_of_rows, strange)).lower()


@on_sqlite
async def test_foreign_keys_that_hold_are_not_refused(engine_of_rows: AsyncEngine) -> None:
    async with engine_of_rows.connect() as connection:
        await connection.run_sync(refuse_orphans)
