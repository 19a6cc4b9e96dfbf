"""Rebuilding tables of SQLite: indexes, triggers, CHECKs and the counter survive Alembic's batch mode."""

from collections.abc import AsyncIterator, Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import BatchOperations, Operations
from alembic.util import CommandError
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database.migrating import engine_for

pytestmark = pytest.mark.no_fast_path

TABLES = """
CREATE TABLE shelf (
    id INTEGER NOT NULL CONSTRAINT pk_shelf PRIMARY KEY AUTOINCREMENT, title VARCHAR(10), pages INTEGER,
    place TEXT NOT NULL DEFAULT ('a, (b') COLLATE "NOCASE",
    CONSTRAINT ck_shelf_title CHECK (length(title) < 90),
    CHECK (pages > 0)
);
CREATE TABLE log (note TEXT);
CREATE UNIQUE INDEX uq_title ON shelf (lower(title), coalesce(pages, 'a:b)')) WHERE pages <> 7;
CREATE INDEX ix_partial ON shelf (pages DESC) WHERE title IS NOT NULL;
CREATE TRIGGER grown AFTER UPDATE OF pages ON shelf BEGIN INSERT INTO log VALUES (old.pages); END;
CREATE TRIGGER logged AFTER INSERT ON log BEGIN UPDATE shelf SET title = title; END;
CREATE VIEW thick AS SELECT id FROM shelf WHERE pages > 500;
INSERT INTO shelf VALUES (1, 'A', 1, 'c'), (2, 'B', 2, 'd');
DELETE FROM shelf WHERE id = 2
"""


@pytest.fixture
async def engine_of_shelf(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(make_url(f"sqlite:///{tmp_path}/shelf.db"))
    async with engine.begin() as connection:
        for statement in TABLES.replace("; END;\n", "; END\0").replace(";\n", "\0").split("\0"):
            await connection.exec_driver_sql(statement)
    yield engine
    await engine.dispose()


async def schema(engine: AsyncEngine) -> dict[str, str]:
    """Return the statements of the whole schema, except that of the altered table."""
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE name <> 'shelf'")
        return {row.name: row.sql for row in found}


async def table(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'shelf'")
        return " ".join(str(found.scalar()).split())


async def alter(engine: AsyncEngine, change: Callable[[BatchOperations], Any]) -> None:
    def run(connection: Connection) -> None:
        with Operations(MigrationContext.configure(connection)).batch_alter_table("shelf") as batch:
            change(batch)

    async with engine.begin() as connection:
        await connection.run_sync(run)


def lengthen(batch: BatchOperations) -> None:
    batch.alter_column("title", type_=sa.String(300))


async def test_a_rebuilt_table_keeps_indexes_triggers_and_views(engine_of_shelf: AsyncEngine) -> None:
    before = await schema(engine_of_shelf)
    await alter(engine_of_shelf, lengthen)
    assert "VARCHAR(300)" in await table(engine_of_shelf)
    assert await schema(engine_of_shelf) == before


async def test_a_rebuilt_table_keeps_its_checks_named_or_not(engine_of_shelf: AsyncEngine) -> None:
    await alter(engine_of_shelf, lengthen)
    sql = await table(engine_of_shelf)
    assert "CONSTRAINT ck_shelf_title CHECK (length(title) < 90)" in sql
    assert "CHECK (pages > 0)" in sql


async def test_a_rebuilt_table_keeps_the_collations_and_defaults_of_its_columns(engine_of_shelf: AsyncEngine) -> None:
    await alter(engine_of_shelf, lengthen)
    sql = await table(engine_of_shelf)
    assert "place TEXT COLLATE \"NOCASE\" DEFAULT 'a, (b' NOT NULL" in sql
    assert sql.count("COLLATE") == 1


async def test_a_rebuilt_table_never_generates_an_id_twice(engine_of_shelf: AsyncEngine) -> None:
    await alter(engine_of_shelf, lengthen)
    async with engine_of_shelf.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO shelf (title, pages) VALUES ('C', 3)")
        rows = await connection.exec_driver_sql("SELECT id FROM shelf")
        assert rows.scalars().all() == [1, 3]


async def test_a_rebuilt_table_computes_its_generated_columns_anew(engine_of_shelf: AsyncEngine) -> None:
    async with engine_of_shelf.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE shelf ADD COLUMN twice NUMERIC(9, 2) AS (pages * 2)")
        await connection.exec_driver_sql("""ALTER TABLE shelf ADD COLUMN "a b" TEXT AS (title || '(,') NOT NULL""")
    await alter(engine_of_shelf, lengthen)
    await alter(engine_of_shelf, lambda batch: batch.alter_column("pages", type_=sa.BigInteger()))
    async with engine_of_shelf.begin() as connection:
        found = await connection.exec_driver_sql('SELECT twice, "a b" FROM shelf')
        assert found.one() == (2, "A(,")
    assert "GENERATED ALWAYS AS (pages * 2) VIRTUAL" in await table(engine_of_shelf)


async def test_a_batch_may_drop_and_create_indexes_on_expressions(engine_of_shelf: AsyncEngine) -> None:
    def change(batch: BatchOperations) -> None:
        lengthen(batch)
        batch.drop_index("uq_title")
        batch.create_index("uq_upper", [sa.text("upper(title)")], unique=True)

    before = await schema(engine_of_shelf)
    await alter(engine_of_shelf, change)
    after = await schema(engine_of_shelf)
    assert before.keys() - after.keys() == {"uq_title"}
    assert after["uq_upper"] == "CREATE UNIQUE INDEX uq_upper ON shelf (upper(title))"


async def test_a_renamed_column_is_renamed_everywhere(engine_of_shelf: AsyncEngine) -> None:
    def change(batch: BatchOperations) -> None:
        batch.alter_column("title", new_column_name="name", type_=sa.String(300))

    await alter(engine_of_shelf, change)
    after = await schema(engine_of_shelf)
    assert "VARCHAR(300)" in await table(engine_of_shelf)
    assert "lower(name)" in after["uq_title"]
    assert [name for name, sql in after.items() if sql and "title" in sql.replace("uq_title", "")] == []


async def test_a_table_without_autoincrement_does_not_get_it(engine_of_shelf: AsyncEngine) -> None:
    async with engine_of_shelf.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE shelf")
        await connection.exec_driver_sql(
            "CREATE TABLE shelf (id INTEGER PRIMARY KEY, title VARCHAR(13)) -- AUTOINCREMENT"
        )
    await alter(engine_of_shelf, lengthen)
    assert "AUTOINCREMENT" not in await table(engine_of_shelf)


async def test_a_column_that_is_only_renamed_is_not_copied(engine_of_shelf: AsyncEngine) -> None:
    await alter(engine_of_shelf, lambda batch: batch.alter_column("pages", new_column_name="leaves"))
    assert "CREATE TABLE shelf (" in await table(engine_of_shelf)
    assert "CHECK (leaves > 0)" in await table(engine_of_shelf)


async def test_checks_without_a_name_can_be_replaced(engine_of_shelf: AsyncEngine) -> None:
    def run(connection: Connection) -> None:
        restated = (sa.CheckConstraint("pages > 5"),)
        op = Operations(MigrationContext.configure(connection))
        with op.batch_alter_table("shelf", table_args=restated) as batch:
            batch.drop_column("place")
            lengthen(batch)

    async with engine_of_shelf.begin() as connection:
        await connection.exec_driver_sql("UPDATE shelf SET pages = 8")
        await connection.run_sync(run)
    sql = await table(engine_of_shelf)
    assert ("pages > 5" in sql, "pages > 0" in sql, "COLLATE" in sql) == (True, False, False)


def test_tables_are_renamed_and_dropped_in_a_script_too() -> None:
    script = StringIO()
    context = MigrationContext.configure(dialect_name="sqlite", opts={"as_sql": True, "output_buffer": script})
    op = Operations(context)
    op.rename_table("shelf", "rack")
    op.drop_column("rack", "place")
    op.drop_table("rack")
    statements = script.getvalue().split(";\n\n")
    assert statements == [
        "ALTER TABLE shelf RENAME TO rack",
        "ALTER TABLE rack DROP COLUMN place",
        "DROP TABLE rack",
        "",
    ]


async def fill(engine: AsyncEngine, title: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text("DROP INDEX uq_title"))
        await connection.execute(sa.text("DROP TRIGGER logged"))
        await connection.execute(sa.text("UPDATE shelf SET title = :title"), {"title": title})


async def titles(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.exec_driver_sql("SELECT title FROM shelf")).scalars())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Room 1", sa.Integer()),
        ("2026-01-31", sa.Date()),
        ("2026-01-31 12:00", sa.DateTime()),
        ("Room 1", sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite")),
        ("Room 1", sa.Uuid()),
        ("Room 1", sa.JSON()),
    ],
)
async def test_a_cast_that_would_change_values_is_refused_with_the_number_of_rows(
    engine_of_shelf: AsyncEngine, value: str, kind: Any
) -> None:
    await fill(engine_of_shelf, value)
    with pytest.raises(CommandError, match=r"shelf\.title has values in 1 row that its new type cannot hold: "):
        await alter(engine_of_shelf, lambda batch: batch.alter_column("title", type_=kind))
    assert await titles(engine_of_shelf) == [value]


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        ("12", sa.Integer(), 12),
        ("1.5", sa.Float(), 1.5),
        ("0123456789abcdef" * 2, sa.Uuid(), "0123456789abcdef" * 2),
        ("[1]", sa.JSON(), "[1]"),
    ],
)
async def test_a_cast_that_keeps_the_values_is_made(
    engine_of_shelf: AsyncEngine, value: str, kind: Any, result: Any
) -> None:
    await fill(engine_of_shelf, value)
    await alter(engine_of_shelf, lambda batch: batch.alter_column("title", type_=kind))
    assert await titles(engine_of_shelf) == [result]


async def test_a_column_is_converted_by_the_expression_of_the_migration(engine_of_shelf: AsyncEngine) -> None:
    await fill(engine_of_shelf, "Room 12")
    conversion: dict[str, Any] = {"postgresql_using": "x", "sqlite_using": "CAST(substr(title, 6) AS INTEGER)"}
    await alter(engine_of_shelf, lambda batch: batch.alter_column("title", type_=sa.Integer(), **conversion))
    assert await titles(engine_of_shelf) == [12]
