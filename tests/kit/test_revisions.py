"""Revisions: what is added to a migration for tables with rows: values, comments with numbers, and types of enums."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import CheckConstraint, Column, Connection, Integer, MetaData, String, Table, text

from kit.database.comparison import PLUGINS
from kit.database.migrating import engine_for
from kit.database.revisions import complete
from kit.database.type_rendering import render_type
from kit.models.naming import NAMES
from kit.models.types import MoneyColumn
from tests.engines import url_for

Mood = StrEnum("Mood", ["good", "bad"])


def title(length: int = 100, **options: Any) -> Column[Any]:
    return Column("title", String(length), **options)


def columns(*others: Column[Any]) -> list[Column[Any]]:
    return [Column("id", Integer, primary_key=True), *others]


@pytest.fixture
async def written(new_database: Any) -> Any:
    """Writes the upgrade of a table with three rows to a table with these columns and constraints."""
    engine = engine_for(url_for(await new_database()))

    def write(connection: Connection, *things: Any) -> str:
        before, after = MetaData(naming_convention=NAMES), MetaData(naming_convention=NAMES)
        Table("shelf", before, *columns(title()))
        before.create_all(connection)
        connection.execute(text("INSERT INTO shelf VALUES (1, NULL), (2, 'two'), (3, 'three')"))
        Table("shelf", after, *columns(*things))
        options = {"autogenerate_plugins": PLUGINS, "target_metadata": after, "render_item": render_type}
        context = MigrationContext.configure(connection, opts=options)
        script = produce_migrations(context, after)
        complete(context, [script], after)
        assert script.upgrade_ops is not None
        return render_python_code(
            script.upgrade_ops, render_as_batch=True, migration_context=context, render_item=render_type
        )

    async def run(*things: Any) -> str:
        async with engine.begin() as connection:
            return await connection.run_sync(write, *things)

    yield run
    await engine.dispose()


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        (Integer(), 7, "7"),
        (sa.Boolean(), False, "False"),
        (String(20), "a:b", "'a:b'"),
        (MoneyColumn(), Decimal("9.99"), "Decimal('9.99')"),
        (sa.Enum(Mood, name="mood"), Mood.good, "'good'"),
        (String(20), Mood.bad, "'bad'"),
        (sa.DateTime(), lambda: datetime.now(UTC), "datetime.now(UTC)"),
        (sa.JSON(), list, "[]"),
    ],
)
async def test_a_new_column_is_filled_with_the_default(written: Any, kind: Any, default: Any, value: str) -> None:
    body = await written(title(), Column("new", kind, nullable=False, default=default))
    added, tightened = body.partition("op.execute")[::2]
    assert "nullable=True" in added
    assert f"values({{'new': {value}}})" in tightened
    assert "nullable=False" in tightened


@pytest.mark.parametrize("default", [None, lambda: 7])
async def test_a_new_column_without_a_value_for_all_rows_is_refused(written: Any, default: Any) -> None:
    with pytest.raises(CommandError, match=r"shelf\.new is NOT NULL, and nothing says which value"):
        await written(title(), Column("new", Integer, nullable=False, default=default))


async def test_a_default_of_the_database_is_enough(written: Any) -> None:
    body = await written(title(), Column("new", Integer, nullable=False, server_default="7"))
    assert "execute" not in body


async def test_a_column_that_becomes_required_is_filled(written: Any) -> None:
    body = await written(title(nullable=False, default="?"))
    assert "values({'title': '?'})" in body
    assert body.index("values(") < body.index("nullable=False")


@pytest.mark.parametrize(
    ("things", "comment"),
    [
        (list, "Loses shelf.title of 2 rows."),
        (lambda: [title(3)], "shelf.title is too long in 1 row for 3 letters."),
        (lambda: [title(nullable=False)], "shelf.title is NULL in 1 row, which need a value before."),
        (
            lambda: [title(), CheckConstraint("length(title) < 4", name="title")],
            "ck_shelf_title does not hold for 1 row, which need other values before.",
        ),
        (lambda: [Column("name", String(50))], "run: make migration RENAME=shelf.title:name"),
    ],
)
async def test_a_comment_says_what_is_lost(written: Any, things: Callable[[], list[Any]], comment: str) -> None:
    assert comment in await written(*things())


async def test_the_type_of_an_enum_is_created_with_its_first_column(written: Any) -> None:
    body = await written(title(), Column("mood", sa.Enum(Mood, name="mood")))
    assert "sa.Enum('good', 'bad', name='mood').create(op.get_bind(), checkfirst=True)" in body
