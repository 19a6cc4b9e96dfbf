"""Comparison with the models: autogenerate finds CHECKs, indexes, enums, triggers and functions, on both engines."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    event,
    text,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database.comparison import PLUGINS, create_constraint_op
from kit.database.declared_comments import ATTRIBUTE as COMMENTS
from kit.database.declared_comments import recorded_comments
from kit.database.declared_types import recorded
from kit.database.default_comparison import value_of
from kit.database.definitions import stored_definitions
from kit.database.migrating import engine_for
from kit.database.type_rendering import render_type
from kit.models.columns import DecimalColumn, DurationColumn
from kit.models.moments import MomentColumn
from kit.models.naming import NAMES
from kit.models.server_defaults import FUNCTIONS, PerDatabase
from tests.engines import on_sqlite, url_for

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]

Model = Callable[[MetaData], Any]
ddl: Any = DDL
FUNCTION = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n  RETURN NEW;\nEND $$"
TRIGGERS = {
    "sqlite": "CREATE TRIGGER touched AFTER INSERT ON shelf BEGIN UPDATE shelf SET title = 'a:b'; END",
    "postgresql": "CREATE TRIGGER touched BEFORE UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION touch()",
}


@pytest.fixture
async def migrating(new_database: Any) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(url_for(await new_database()))
    yield engine
    await engine.dispose()


def metadata_of(model: Model) -> MetaData:
    metadata = MetaData(naming_convention=NAMES)
    model(metadata)
    return metadata


def shelf(*args: Any, bound: int = 200, title: Any = None) -> Model:
    """Define a table with a CHECK, and with further parts."""

    def define(metadata: MetaData) -> None:
        check = CheckConstraint(f"length(title) BETWEEN 1 AND {bound}", name="title")
        column = Column("title", title or String(bound), nullable=False)
        Table("shelf", metadata, Column("id", Integer, primary_key=True), column, check, *args)

    return define


def context_of(connection: Connection, metadata: MetaData) -> MigrationContext:
    options = {"autogenerate_plugins": PLUGINS, "target_metadata": metadata}
    context = MigrationContext.configure(connection, opts=options)
    if COMMENTS in connection.info:
        environment: Any = SimpleNamespace(config=Config(attributes={COMMENTS: recorded_comments(connection)}))
        context.environment_context = environment
    return context


def generated(connection: Connection, metadata: MetaData) -> tuple[str, str]:
    """Return the bodies of the upgrade and the downgrade that autogenerate writes; `pass` if nothing differs."""
    context = context_of(connection, metadata)
    script = produce_migrations(context, metadata)
    up, down = script.upgrade_ops, script.downgrade_ops
    assert up is not None
    assert down is not None
    assert len(up.as_diffs()) >= len(up.ops)  # for `alembic check`
    return (
        render_python_code(up, render_as_batch=True, migration_context=context, render_item=render_type),
        render_python_code(down, render_as_batch=True, migration_context=context, render_item=render_type),
    )


def apply(connection: Connection, metadata: MetaData, body: str) -> None:
    with Operations.context(context_of(connection, metadata)) as op:
        exec(f"if True:\n    {body}", {"op": op, "sa": sa, "UTCDateTime": UTCDateTime})  # noqa: S102  a migration is executed like this


def check_equal(connection: Connection, metadata: MetaData) -> None:
    left, _ = generated(connection, metadata)
    assert "pass" in left, left


async def change(engine: AsyncEngine, old: Model, new: Model) -> str:
    """Apply the migration from one model to the other: up, down, and up. Returns the upgrade."""

    def run(connection: Connection) -> str:
        before, after = metadata_of(old), metadata_of(new)
        before.create_all(connection)
        check_equal(connection, before)
        up, down = generated(connection, after)
        for body, metadata in ((up, after), (down, before), (up, after)):
            apply(connection, metadata, body)
            check_equal(connection, metadata)
        return up

    async with engine.begin() as connection:
        return await connection.run_sync(run)


async def test_a_longer_column_gets_a_matching_check(migrating: AsyncEngine) -> None:
    body = await change(migrating, shelf(), shelf(bound=300))
    async with migrating.begin() as connection:
        await connection.execute(text("INSERT INTO shelf VALUES (1, :title)"), {"title": "x" * 250})
    assert body.count("ck_shelf_title") == 2


async def test_added_and_removed_checks_are_detected(migrating: AsyncEngine) -> None:
    await change(migrating, shelf(), shelf(CheckConstraint("title <> 'a:b'", name="other")))
    without = metadata_of(shelf())
    async with migrating.begin() as connection:
        await connection.run_sync(lambda sync: apply(sync, without, generated(sync, without)[0]))
        await connection.execute(text("INSERT INTO shelf VALUES (1, :title)"), {"title": "a:b"})


@pytest.mark.parametrize(
    "new",
    [
        lambda: Index("ix", text("upper(title)"), unique=True),
        lambda: Index("ix", text("lower(title)")),
        lambda: Index("ix", "title", sqlite_where=text("id > 7"), postgresql_where=text("id > 7")),
        lambda: Index("ix", "title", "id"),
    ],
)
async def test_a_changed_index_is_detected(migrating: AsyncEngine, new: Callable[[], Index]) -> None:
    old = Index("ix", text("lower(title)"), unique=True)
    body = await change(migrating, shelf(old), shelf(new()))
    assert ("drop_index" in body, "create_index" in body) == (True, True)


async def test_a_changed_condition_of_an_index_is_detected(migrating: AsyncEngine) -> None:
    def where(condition: str) -> Index:
        return Index("ix", "title", sqlite_where=text(condition), postgresql_where=text(condition))

    body = await change(migrating, shelf(where("id > 1")), shelf(where("id > 2")))
    assert "id > 2" in body


async def test_a_new_table_gets_its_indexes_on_expressions(migrating: AsyncEngine) -> None:
    body = await change(migrating, lambda _: None, shelf(Index("ix", text("lower(title)"), unique=True)))
    assert "lower(title)" in body


async def test_triggers_and_functions_of_the_models_are_created(migrating: AsyncEngine) -> None:
    def touched(metadata: MetaData) -> None:
        shelf()(metadata)
        for dialect, sql in TRIGGERS.items():
            event.listen(metadata.tables["shelf"], "after_create", ddl(sql).execute_if(dialect=dialect))
        event.listen(metadata, "before_create", ddl(FUNCTION).execute_if(dialect="postgresql"))

    assert "CREATE TRIGGER" in await change(migrating, shelf(), touched)


async def test_changed_labels_of_a_text_enum_change_its_check(migrating: AsyncEngine) -> None:
    def of(*labels: str) -> Model:
        kind = sa.Enum(*labels, name="status", native_enum=False, create_constraint=True)
        return lambda metadata: Table("letter", metadata, Column("status", kind))

    await change(migrating, of("draft"), of("draft", "archived"))
    async with migrating.begin() as connection:
        await connection.execute(text("INSERT INTO letter VALUES ('archived')"))


def restore_dump(connection: Connection) -> None:
    """Define everything anew by the SQL that PostgreSQL has stored, as a dump does. SQLite keeps the text."""
    if connection.dialect.name == "sqlite":
        return
    stored = stored_definitions(connection)
    for (table, name), sql in stored.checks.items():
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({sql})")
    for (table, name), sql in stored.computed.items():
        column = f"{name} boolean GENERATED ALWAYS AS ({sql}) STORED"
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {name}, ADD COLUMN {column}")
    for (_, name), sql in stored.indexes.items():
        connection.exec_driver_sql(f"DROP INDEX {name}")
        connection.exec_driver_sql(sql)


async def test_a_restored_dump_does_not_differ_from_the_models(migrating: AsyncEngine) -> None:
    condition = "status IN ('draft', 'sent')"
    open_ones: dict[str, Any] = {"sqlite_where": text(condition), "postgresql_where": text(condition)}
    metadata = metadata_of(
        lambda metadata: Table(
            "letter",
            metadata,
            Column("status", String(9)),
            Column("is_open", Boolean(), Computed(condition, persisted=True)),
            CheckConstraint(condition, name="status"),
            Index("ix_open", "status", **open_ones),
        )
    )

    def run(connection: Connection) -> None:
        metadata.create_all(connection)
        for _ in range(2):
            restore_dump(connection)
            check_equal(connection, metadata)

    async with migrating.begin() as connection:
        await connection.run_sync(run)


async def test_a_migration_drops_the_check_of_a_declared_type_once(migrating: AsyncEngine) -> None:
    """The migrations before it have declared the type, and so that it creates the CHECK."""

    def letter(*labels: str) -> MetaData:
        kind = sa.Enum(*labels, name="kind", native_enum=False, create_constraint=True)
        return metadata_of(lambda metadata: Table("letter", metadata, Column("kind", kind)))

    def run(connection: Connection) -> None:
        before, after = letter("a"), letter("a", "bcd")
        before.create_all(connection)
        recorded(connection)["letter", "kind"] = before.tables["letter"].c.kind.type
        apply(connection, after, generated(connection, after)[0])
        recorded(connection).clear()
        check_equal(connection, after)

    async with migrating.begin() as connection:
        await connection.run_sync(run)


async def test_a_larger_integer_is_detected_where_both_are_stored_alike(migrating: AsyncEngine) -> None:
    def numbered(kind: Any) -> MetaData:
        return metadata_of(lambda metadata: Table("box", metadata, Column("number", kind)))

    def run(connection: Connection) -> str:
        numbered(Integer()).create_all(connection)
        recorded(connection)["box", "number"] = Integer()
        return generated(connection, numbered(sa.BigInteger().with_variant(Integer(), "sqlite")))[0]

    async with migrating.begin() as connection:
        assert "type_=sa.BigInteger()" in await connection.run_sync(run)


async def test_texts_in_conditions_are_compared_to_the_letter(migrating: AsyncEngine) -> None:
    def named(condition: str) -> Model:
        return shelf(CheckConstraint(condition, name="other"))

    body = await change(migrating, named("title <> 'two  spaces'"), named("title <> 'two spaces'"))
    assert body.count("ck_shelf_other") == 2


def price(default: Any, kind: Any = Integer) -> Model:
    return lambda metadata: Table("price", metadata, Column("id", Integer, primary_key=True),
                                  Column("value", kind, server_default=default))  # fmt: skip


CENTS = DecimalColumn(8, 2, is_fixed=True)
NOW = PerDatabase(*FUNCTIONS["datetime", "now()"])


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (None, "7", Integer),
        ("7", "8", Integer),
        ("7", None, Integer),
        (PerDatabase("'500'", "'5.00'"), PerDatabase("'0'", "'0.00'"), CENTS),
        (PerDatabase("'86400000000'", "'1 days 0.0 seconds'"), None, DurationColumn()),
        (None, NOW, MomentColumn()),
        (NOW, None, MomentColumn()),
        (sa.true(), sa.false(), sa.Boolean()),
        ("it's", "it''s", String(9)),
        (text("(1 + 1)"), text("(1 + 2)"), Integer),
    ],
)
async def test_a_changed_default_is_detected_and_restored(
    migrating: AsyncEngine, old: Any, new: Any, kind: Any
) -> None:
    assert "server_default=" in await change(migrating, price(old, kind), price(new, kind))


async def test_a_former_default_is_written_for_both_databases(migrating: AsyncEngine) -> None:
    def run(connection: Connection) -> str:
        metadata_of(price(PerDatabase("'500'", "'5.00'"), CENTS)).create_all(connection)
        return generated(connection, metadata_of(price(None, CENTS)))[1]

    async with migrating.begin() as connection:
        assert """{"sqlite": '500'}.get(op.get_context().dialect.name, '5.00')""" in await connection.run_sync(run)


async def test_a_default_of_a_column_with_another_type_is_restored_on_this_database(migrating: AsyncEngine) -> None:
    await change(migrating, price("7", String(9)), price("8", sa.Text()))
    assert value_of(None, sa.JSON(), "now()") is None  # type: ignore[arg-type]  # it is not used


def doubled(expression: str, *things: Any) -> Model:
    def define(metadata: MetaData) -> None:
        column = Column("value", Integer, sa.Computed(expression, persisted=True))
        Table("price", metadata, Column("id", Integer, primary_key=True), column, *things)

    return define


async def test_a_generated_column_with_another_expression_is_computed_anew(migrating: AsyncEngine) -> None:
    def parts() -> list[Index]:
        return [Index("ix_value", "value", "id"), Index("ix_sum", text("(value + id)")), Index("ix_id", "id")]

    async with migrating.begin() as connection:
        await connection.run_sync(metadata_of(doubled("id * 2", *parts())).create_all)
        await connection.execute(text("INSERT INTO price (id) VALUES (5)"))
    body = await change(migrating, doubled("id * 2", *parts()), doubled("id * 3", *parts()))
    assert (body.count("create_index"), body.count("drop_index"), "ix_id" in body) == (2, 2, False)
    async with migrating.begin() as connection:
        assert await connection.scalar(text("SELECT value FROM price")) == 15


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (lambda: doubled("id * 2"), lambda: doubled("id * 3", CheckConstraint("value > 0", name="value"))),
        (lambda: doubled("id * 2"), lambda: doubled("id * 3", sa.UniqueConstraint("value"))),
        (lambda: doubled("id * 2", Index("ix", "value")), lambda: doubled("id * 3")),
        (lambda: doubled("id * 2"), lambda: price(None)),
    ],
)
async def test_a_changed_expression_that_other_parts_need_is_a_comment(
    migrating: AsyncEngine, old: Callable[[], Model], new: Callable[[], Model]
) -> None:
    def run(connection: Connection) -> str:
        metadata_of(old()).create_all(connection)
        after = metadata_of(new())
        up, down = generated(connection, after)
        for body in (up, down):
            apply(connection, after, body)
        return up

    async with migrating.begin() as connection:
        assert "# Not migrated: the expression of price.value." in await connection.run_sync(run)


@on_sqlite
async def test_moments_of_a_former_default_get_a_fraction_of_a_second(migrating: AsyncEngine) -> None:
    def run(connection: Connection) -> list[Any]:
        before, after = (metadata_of(price(default, MomentColumn())) for default in (text("CURRENT_TIMESTAMP"), NOW))
        before.create_all(connection)
        connection.execute(text("INSERT INTO price (id) VALUES (1)"))
        up, down = generated(connection, after)
        for body in (up, down, up):
            apply(connection, after, body)
        connection.execute(text("INSERT INTO price (id) VALUES (2)"))
        return list(connection.scalars(text("SELECT value FROM price ORDER BY id")))

    async with migrating.begin() as connection:
        first, second = await connection.run_sync(run)
    assert (len(first), first[19:], first <= second) == (26, ".000000", True)


@on_sqlite
async def test_a_table_that_lost_its_autoincrement_gets_it_back(migrating: AsyncEngine) -> None:
    def numbered(is_numbered: bool) -> Model:
        def define(metadata: MetaData) -> None:
            shelf()(metadata)
            metadata.tables["shelf"].dialect_options["sqlite"]["autoincrement"] = is_numbered

        return define

    body = await change(migrating, numbered(False), numbered(True))
    assert "sqlite_autoincrement" in body


def test_a_check_of_columns_is_written_as_text() -> None:
    created = create_constraint_op(CheckConstraint(Column("n", Integer) > 0, name="n"), "shelf", None)
    assert (created.table_name, str(created.condition)) == ("shelf", "n > 0")


def commented(of_table: str | None, of_column: str | None, *others: Any) -> Model:
    def define(metadata: MetaData) -> None:
        column = Column("value", Integer, comment=of_column)
        Table("price", metadata, Column("id", Integer, primary_key=True), column, *others, comment=of_table)

    return define


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((None, None), ("Prices.", "In cents.")),
        (("Prices.", "In cents."), (None, None)),
        (("Prices.", "In cents."), ("All prices.", "In cents.")),
    ],
)
async def test_comments_are_compared_with_those_of_the_migrations(
    migrating: AsyncEngine, old: tuple[Any, Any], new: tuple[Any, Any]
) -> None:
    """On PostgreSQL, which stores them, with those of the database."""

    def run(connection: Connection) -> None:
        state = metadata_of(lambda _: None)
        for metadata in map(metadata_of, (commented(*old), commented(*new), commented(*old))):
            apply(connection, metadata, generated(connection, metadata)[0])
            check_equal(connection, metadata)
            state = metadata
        assert state.tables["price"].comment == old[0]

    async with migrating.begin() as connection:
        await connection.run_sync(run)


async def test_renamed_tables_and_columns_and_new_columns_keep_their_comments(migrating: AsyncEngine) -> None:
    def run(connection: Connection) -> None:
        before = metadata_of(commented("Prices.", "In cents."))
        apply(connection, before, generated(connection, before)[0])
        after = metadata_of(commented("Prices.", "In cents.", Column("note", Integer, comment="A note.")))
        apply(connection, after, generated(connection, after)[0])
        rename = "op.rename_table('price', 'cost')\n    with op.batch_alter_table('cost') as batch_op:\n"
        apply(connection, after, f"{rename}        batch_op.alter_column('value', new_column_name='amount')")
        if connection.dialect.name == "sqlite":
            named = {key: comment for key, comment in recorded_comments(connection).items() if comment}
            assert named == {("cost", ""): "Prices.", ("cost", "amount"): "In cents.", ("cost", "note"): "A note."}

    async with migrating.begin() as connection:
        await connection.run_sync(run)
