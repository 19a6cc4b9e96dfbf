"""Revisions: values, comments with row counts, and enum types in migrations of tables with rows."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.util import CommandError
from pydantic import TypeAdapter
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import CIDR, INET
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database import revisions
from kit.database.comparison import PLUGINS
from kit.database.definitions import Definitions
from kit.database.migrated_conditions import conditions_in
from kit.database.migrating import engine_for
from kit.database.portability import Before
from kit.database.renames import Rename, with_renames
from kit.database.revision_comments import same_kind
from kit.database.revision_operations import Conditions, utc_literal
from kit.database.revisions import complete
from kit.database.type_rendering import render_type
from kit.models.columns import DecimalColumn, DurationColumn, EnumColumn, JsonColumn, MoneyColumn, TextColumn
from kit.models.naming import NAMES
from kit.models.server_defaults import PerDatabase
from kit.models.sqlite_times import NOW
from tests.engines import on_postgresql, url_for

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]

SQLITE_MOMENT: Any = sqlite.DATETIME()  # type: ignore[no-untyped-call]
Mood = StrEnum("Mood", ["good", "bad"])


def title(length: int = 100, **options: Any) -> Column[Any]:
    return Column("title", String(length), **options)


class Bodies(NamedTuple):
    up: str
    down: str


def columns(*others: Column[Any]) -> list[Column[Any]]:
    return [Column("id", Integer, primary_key=True), *others]


@pytest.fixture
async def written(new_database: Any) -> Any:
    """Provide a function that writes the upgrade of a table with three rows to these columns and constraints."""
    engine = engine_for(url_for(await new_database()))

    def write(connection: Connection, things: Any, old: Any, known: Before | None, renames: Any, gone: bool) -> Bodies:
        before, after = MetaData(naming_convention=NAMES), MetaData(naming_convention=NAMES)
        Table("shelf", before, *columns(title(), *old))
        if gone:
            Table("gone", before, Column("id", Integer), CheckConstraint("id > 0", name="id"))
        before.create_all(connection)
        connection.execute(text("INSERT INTO shelf (id, title) VALUES (1, NULL), (2, 'two'), (3, 'three')"))
        Table("shelf", after, *columns(*things))
        options = {"autogenerate_plugins": PLUGINS, "target_metadata": after, "render_item": render_type}
        context = MigrationContext.configure(connection, opts=options)
        with with_renames(context, renames):
            script = produce_migrations(context, after)
            complete(context, [script], after, renames, known)
        assert script.upgrade_ops is not None
        assert script.downgrade_ops is not None
        assert script.upgrade_ops.as_diffs()  # for `alembic check`
        bodies = [
            render_python_code(ops, render_as_batch=True, migration_context=context, render_item=render_type)
            for ops in (script.upgrade_ops, script.downgrade_ops)
        ]
        return Bodies(*bodies)

    async def run(
        *things: Any,
        old: Any = (),
        former: Definitions | None = None,
        known: Before | None = None,
        renames: Any = (),
        gone: bool = False,
        down: bool = False,
    ) -> str:
        async with engine.begin() as connection:
            known = known or Before(former or Definitions())
            bodies = await connection.run_sync(write, things, old, known, renames, gone)
        return bodies.down if down else bodies.up

    yield run
    await engine.dispose()


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        (Integer(), 7, "7"),
        (sa.Boolean(), False, "False"),
        (String(20), "a:b", "'a:b'"),
        (MoneyColumn(), Decimal("9.99"), """{"sqlite": 999}.get(op.get_bind().dialect.name, Decimal('9.99'))"""),
        (EnumColumn(Mood, 16), Mood.good, "'good'"),
        (
            DurationColumn(),
            timedelta(hours=1),
            '{"sqlite": 3600000000}.get(op.get_bind().dialect.name, timedelta(seconds=3600))',
        ),
        (sa.Date(), date(2020, 1, 2), "date(2020, 1, 2)"),
        (sa.Time(), time(9, 30), "time(9, 30)"),
        (sa.Enum(Mood, native_enum=False), Mood.good, "'good'"),
        (String(20), Mood.bad, "'bad'"),
        (sa.DateTime(), lambda: datetime.now(UTC), "datetime.now(UTC)"),
        (sa.Date(), lambda: datetime.now(UTC).date(), "datetime.now(UTC).date()"),
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
async def test_a_new_column_without_a_constant_default_is_refused(written: Any, default: Any) -> None:
    with pytest.raises(CommandError, match=r"shelf\.new is NOT NULL, but has no default for the existing rows"):
        await written(title(), Column("new", Integer, nullable=False, default=default))


@pytest.mark.parametrize(
    ("rename", "says"),
    [
        (
            Rename("shelves", None, "rack"),
            "RENAME=shelves:rack is impossible: there is no table shelves: the tables are",
        ),
        (Rename("shelf", None, "shelf"), "RENAME=shelf:shelf is impossible: there is a table shelf already."),
        (Rename("shelf", "name", "label"), "shelf has no column name: its columns are id, title."),
        (Rename("shelf", "title", "id"), "RENAME=shelf.title:id is impossible: shelf has a column id already."),
    ],
)
async def test_an_impossible_rename_is_refused(written: Any, rename: Rename, says: str) -> None:
    with pytest.raises(CommandError) as refused:
        await written(title(), renames=[rename])
    assert says in str(refused.value)


async def test_a_rename_is_suggested_for_a_required_column_too(written: Any) -> None:
    with pytest.raises(CommandError) as refused:
        await written(Column("name", String(50), nullable=False), Column("number", Integer))
    said = str(refused.value)
    assert said.startswith("shelf.name is NOT NULL, but has no default for the existing rows.")
    assert said.endswith("If shelf.title is called name now, run: make migration RENAME=shelf.title:name")


def test_a_type_without_a_python_type_is_compared_by_its_class() -> None:
    assert same_kind(INET(), INET())
    assert not same_kind(INET(), String())
    assert not same_kind(INET(), CIDR())


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
        (lambda: [title(3)], "shelf.title is longer than 3 characters in 1 row."),
        (lambda: [title(nullable=False)], "shelf.title is NULL in 1 row, which must get a value first."),
        (
            lambda: [title(), CheckConstraint("length(title) < 4", name="title")],
            "ck_shelf_title is violated by 1 row, which must get other values first.",
        ),
        (lambda: [Column("title", Integer)], "Changes the type of shelf.title in 2 rows."),
        (lambda: [Column("name", String(50))], "run: make migration RENAME=shelf.title:name"),
    ],
)
async def test_a_comment_describes_lost_data(written: Any, things: Callable[[], list[Any]], comment: str) -> None:
    assert comment in await written(*things())


@pytest.mark.parametrize(
    "things",
    [
        lambda: [title(200)],
        lambda: [title(), CheckConstraint("length(title) < 99", name="title")],
        lambda: [title(), Column("new", Integer), CheckConstraint("new > 1", name="new")],
        lambda: [title(), Column("new", LargeBinary)],
    ],
)
async def test_an_operation_without_loss_has_no_comment(written: Any, things: Callable[[], list[Any]]) -> None:
    lines = (await written(*things())).splitlines()
    assert [line for line in lines if "batch_op." in line]
    assert [line for line in lines if line.strip().startswith("# ") and "###" not in line] == []


@on_postgresql
@pytest.mark.parametrize(
    ("kind", "comment"),
    [
        (SmallInteger, "shelf.number does not fit into 16 bits in 0 rows."),
        (BigInteger, "### end Alembic commands ###"),
    ],
)
async def test_a_smaller_integer_type_has_a_comment_and_a_larger_one_has_not(
    written: Any, kind: Any, comment: str
) -> None:
    body = await written(title(), Column("number", kind), old=[Column("number", Integer)])
    comments = [line.strip() for line in body.splitlines() if line.strip().startswith("# ")]
    assert comments[1].removeprefix("# ") == comment


async def test_a_restored_required_column_is_nullable(written: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(revisions, "needs_value", lambda column: column.name == "note")
    down = await written(title(), old=[Column("note", String(9))], down=True)
    assert "# The values of shelf.note are lost: it is NULL in all rows." in down


async def test_restored_definitions_have_the_text_of_the_migrations(written: Any) -> None:
    things = [CheckConstraint("length(title) < 9", name="title"), Index("ix", text("lower(title)"), **where("id > 1"))]
    former = Definitions(
        checks={("shelf", "ck_shelf_title"): "length(title) < 9 AND 'a:b' <> ''"},
        indexes={("shelf", "ix"): "CREATE INDEX ix ON shelf (lower( title )) WHERE id > 1 AND id > 0"},
    )
    down = await written(title(), old=things, former=former, down=True)
    assert "'a:b'" in down.replace("\\", "")
    assert "lower( title )" in down
    assert down.count("sa.text('id > 1 AND id > 0')") == 2


async def test_the_rows_of_a_dropped_table_are_counted(written: Any) -> None:
    assert "# Loses the table gone, with 0 rows." in await written(title(), gone=True)


async def test_restored_checks_have_the_text_of_the_migrations(written: Any) -> None:
    down = await written(title(), gone=True, former=Definitions(checks={("gone", "ck_gone_id"): "id > -1"}), down=True)
    assert "id > -1" in down


async def test_a_condition_is_restored_on_both_databases(written: Any) -> None:
    down = await written(title(), old=[Index("ix", "title", **where("id > 1"))], down=True)
    assert ("sqlite_where" in down, "postgresql_where" in down) == (True, True)


async def test_a_renamed_column_keeps_its_values(written: Any) -> None:
    renames = [Rename("shelf", "title", "name")]
    up = await written(Column("name", String(200)), renames=renames)
    assert up.index("new_column_name='name'") < up.index("length=200")
    assert "drop_column" not in up


def test_a_rename_is_suggested_for_columns_of_one_python_type() -> None:
    assert same_kind(sa.Uuid(), sa.types.UUID())
    assert same_kind(MoneyColumn(), sa.Numeric(10, 2))
    assert not same_kind(String(9), Integer())


def where(condition: str) -> Any:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


async def test_an_index_on_columns_is_restored_as_it_was(written: Any) -> None:
    former = Definitions(indexes={("shelf", "ix"): "CREATE INDEX ix ON shelf (title)"})
    down = await written(title(), old=[Index("ix", "title")], former=former, down=True)
    assert ("['title']" in down, "where" in down) == (True, False)


@pytest.mark.parametrize(
    ("kind", "rendered"),
    [
        (MoneyColumn(), 'sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite")'),
        (
            DecimalColumn(9, 9, is_fixed=False),
            'sa.Numeric(decimal_return_scale=9).with_variant(sa.BigInteger(), "sqlite")',
        ),
        (DecimalColumn(30, 30, is_fixed=False), 'sa.Numeric().with_variant(sa.String(61), "sqlite")'),
        (DurationColumn(), 'sa.Interval().with_variant(sa.BigInteger(), "sqlite")'),
        (JsonColumn(TypeAdapter(dict)), "sa.JSON()"),
        (EnumColumn(Mood, None), "sa.BigInteger()"),
        (
            EnumColumn(Mood, 16),
            'sa.String(length=16).with_variant(sa.String(length=16, collation="C"), "postgresql")',
        ),
        (
            TextColumn(IPv4Address, 9),
            'sa.String(length=9).with_variant(sa.String(length=9, collation="C"), "postgresql")',
        ),
        (sa.Integer(), False),
    ],
)
def test_a_migration_names_types_of_sqlalchemy(kind: Any, rendered: Any) -> None:
    context: Any = None
    assert render_type("type", kind, context) == rendered


WRITTEN_NOW = f"sa.text({{\"sqlite\": {f'({NOW})'!r}}}.get(op.get_context().dialect.name, 'CURRENT_TIMESTAMP'))"


@pytest.mark.parametrize(
    ("default", "rendered"),
    [
        (sa.func.now(), WRITTEN_NOW),
        (sa.text("now()"), WRITTEN_NOW),
        (sa.func.current_timestamp(), WRITTEN_NOW),
        (sa.false(), "sa.false()"),
        (sa.text("7"), "sa.text('7')"),
        ("seven", "'seven'"),
        (PerDatabase("'999'", "'9.99'"), """{"sqlite": '999'}.get(op.get_context().dialect.name, '9.99')"""),
        (PerDatabase("(lower('A:b'))", "(lower('A:b'))"), """sa.text("(lower('A\\\\:b'))")"""),
    ],
)
async def test_a_default_of_the_database_is_written_for_both_databases(
    written: Any, default: Any, rendered: str
) -> None:
    body = await written(title(), Column("new", String(30), server_default=default))
    assert f"server_default={rendered}" in body


@pytest.mark.parametrize(
    ("kind", "dialect", "rendered"),
    [
        (sa.DateTime(), "sqlite", "sa.DateTime()"),
        (SQLITE_MOMENT, "sqlite", "UTCDateTime()"),
        (sa.TIMESTAMP(), "postgresql", "sa.DateTime()"),
        (sa.TIMESTAMP(timezone=True), "postgresql", "UTCDateTime()"),
        (UTCDateTime(), "postgresql", "UTCDateTime()"),
    ],
)
def test_only_a_declared_moment_without_a_time_zone_is_written_as_one(kind: Any, dialect: Any, rendered: str) -> None:
    context: Any = SimpleNamespace(dialect=SimpleNamespace(name=dialect))
    assert render_type("type", kind, context) == rendered


class Shouted(TypeDecorator[str]):
    """A column type of an application."""

    impl = String
    cache_ok = True


@pytest.mark.parametrize(("kind", "imports"), [(Shouted(9), {f"import {__name__}"}), (sa.Integer(), set())])
def test_a_migration_imports_the_types_of_others(kind: Any, imports: set[str]) -> None:
    context: Any = SimpleNamespace(imports=set())
    assert render_type("type", kind, context) is False
    assert context.imports == imports


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_new_member_of_an_enum_changes_the_check_and_a_downgrade_restores_it(
    written: Any, is_down: bool
) -> None:
    def with_members(values: str) -> list[Any]:
        return [Column("mood", EnumColumn(Mood, 16)), CheckConstraint(f"mood IN ({values})", name="mood")]

    body = await written(title(), *with_members("'good', 'bad'"), old=with_members("'good'"), down=is_down)
    created = body.partition("create_check_constraint")[2]
    assert "drop_constraint" in body
    assert ("'good', 'bad'" in created.replace("::character varying", "")) is not is_down
    assert "ENUM" not in body


def test_a_time_is_written_as_such() -> None:
    assert utc_literal(datetime(2026, 1, 1, tzinfo=UTC)) == "datetime.fromisoformat('2026-01-01T00:00:00+00:00')"


async def test_a_condition_about_decimals_is_written_for_each_database(written: Any) -> None:
    price: Column[Any] = Column("price", MoneyColumn())
    condition = "{'sqlite': 'price < 10000'}.get(op.get_bind().dialect.name, 'price < 100')".replace("'", '"')
    old: list[Column[Any]] = [Column("price", MoneyColumn())]
    body = await written(title(), price, CheckConstraint(price < 100, name="price"), old=old)
    assert condition in body.replace("'", '"')


def test_a_condition_about_decimals_of_a_new_table_is_written_for_each_database() -> None:
    price: Column[Any] = Column("price", MoneyColumn())
    assert render_type("check", CheckConstraint(price * 2 > sa.literal(1), name="ck_price"), None) == (  # type: ignore[arg-type]
        """sa.CheckConstraint({"sqlite": 'price * 2 > 100'}.get(op.get_bind().dialect.name, 'price * 2 > 1'), """
        """name=op.f('ck_price'))"""
    )
    assert render_type("check", CheckConstraint(price > 0, name="ck_price"), None) is False  # type: ignore[arg-type]
    assert render_type("check", CheckConstraint(Column("n", Integer) > 1, name="n"), None) is False  # type: ignore[arg-type]


async def test_a_column_that_is_null_in_no_row_becomes_required_without_a_comment(written: Any) -> None:
    old, new = (Column("number", Integer, server_default=text("1"), nullable=nullable) for nullable in (True, False))
    body = await written(title(), new, old=[old])
    assert "nullable=False" in body
    assert "must get a value first" not in body


IDENT: Any = BigInteger().with_variant(Integer(), "sqlite")
MONEY: Any = sa.Numeric(10, 2).with_variant(BigInteger(), "sqlite")


async def test_a_removed_column_comes_back_with_the_type_and_default_that_it_had_on_both_databases(
    written: Any,
) -> None:
    old = [
        Column("number", IDENT, server_default="7"),
        Column("price", MoneyColumn(), server_default=PerDatabase("'500'", "'5.00'")),
        Column("wait", DurationColumn(), server_default=PerDatabase("'5000000'", "'5 seconds'")),
        Column("word", String(9), server_default=text("(lower('A'))")),
        Column("twice", Integer, sa.Computed("id + id", persisted=True)),
    ]
    interval = sa.Interval().with_variant(BigInteger(), "sqlite")
    types: Any = {"number": IDENT, "price": MONEY, "wait": interval, "word": String(9), "twice": Integer()}
    known = Before(
        Definitions(defaults={("shelf", "word"): "lower('A')"}, computed={("shelf", "twice"): "id  +  id"}),
        {("shelf", name): kind for name, kind in types.items()},
    )
    down = await written(title(), old=old, known=known, down=True)
    assert "sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), server_default='7'" in down
    assert """{"sqlite": '500'}.get(op.get_context().dialect.name, '5.00')""" in down
    assert "sa.Interval().with_variant(sa.BigInteger(), 'sqlite')" in down
    assert """{"sqlite": '5000000'}.get(op.get_context().dialect.name, '0 days 5.000000 seconds')""" in down
    assert """server_default=sa.text("lower('A')")""" in down
    assert "sa.Computed('id  +  id', persisted=True)" in down


async def test_a_removed_table_comes_back_with_autoincrement_and_the_condition_of_each_database(written: Any) -> None:
    known = Before(
        Definitions(checks={("gone", "ck_gone_id"): "id > 100"}, numbered=frozenset({"gone"})),
        {("gone", "id"): IDENT},
        {("ck_gone_id", "id > 100"): Conditions("id > 100", "id > 1")},
    )
    down = await written(title(), gone=True, known=known, down=True)
    assert "sqlite_autoincrement=True" in down
    assert """{"sqlite": 'id > 100'}.get(op.get_bind().dialect.name, 'id > 1')""" in down
    assert "sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite')" in down


async def test_a_changed_check_goes_back_to_the_condition_of_each_database(written: Any) -> None:
    known = Before(
        Definitions(checks={("shelf", "ck_shelf_id"): "id < 900"}),
        conditions={("ck_shelf_id", "id < 900"): Conditions("id < 900", "id < 9")},
    )
    down = await written(title(), old=[CheckConstraint("id < 900", name="id")], known=known, down=True)
    assert """{"sqlite": 'id < 900'}.get(op.get_bind().dialect.name, 'id < 9')""" in down


async def test_a_former_expression_has_the_text_of_the_migrations(written: Any) -> None:
    old = Column("word", String(9), server_default=text("(lower('A'))"))
    known = Before(Definitions(defaults={("shelf", "word"): "lower( 'A' )"}))
    down = await written(title(), Column("word", String(9)), old=[old], known=known, down=True)
    assert """server_default=sa.text("lower( 'A' )")""" in down


def test_conditions_of_each_database_are_read_from_the_source_of_migrations() -> None:
    source = r"""
def upgrade() -> None:
    op.create_table("item", sa.CheckConstraint("id > 0", name=op.f("ck_item_id")))
    with op.batch_alter_table("item") as batch_op:
        batch_op.create_check_constraint(
            batch_op.f("ck_item_price"), {"sqlite": "price <  900 OR note = 'a\\:b'"}.get(name(), "price < 9")
        )
"""
    found = conditions_in([source])
    key = ("ck_item_price", "price < 900 OR note = 'a:b'")
    assert found == {key: Conditions("price <  900 OR note = 'a:b'", "price < 9")}


async def test_a_generated_column_that_is_computed_anew_loses_nothing_and_is_no_rename(written: Any) -> None:
    def twice(expression: str) -> Column[Any]:
        return Column("twice", Integer, sa.Computed(expression, persisted=True))

    body = await written(title(), twice("id + id"), old=[twice("id * 2")])
    assert ("drop_column('twice')" in body, "add_column" in body, "# " in body.replace("# ###", "")) == (
        True,
        True,
        False,
    )
