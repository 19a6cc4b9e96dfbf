"""Conversions: a migration to another type keeps the values, or refuses them with the number of rows."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError
from pydantic import TypeAdapter
from sqlalchemy import Column, Connection, Integer, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database.comparison import PLUGINS
from kit.database.conversions import conversion
from kit.database.declared_types import recorded
from kit.database.migrating import engine_for
from kit.database.revisions import complete
from kit.database.storage_kinds import Kind, is_other, kind_of
from kit.database.type_rendering import kit_type, render_type
from kit.models.columns import DecimalColumn, DurationColumn, EnumColumn, JsonColumn, MoneyColumn, text_type
from kit.models.naming import NAMES
from tests.engines import on_postgresql, url_for

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]


def shelf(kind: TypeEngine[Any]) -> Table:
    return Table(
        "shelf", MetaData(naming_convention=NAMES), Column("id", Integer, primary_key=True), Column("value", kind)
    )


def named_by_a_migration(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a migration writes for a column type."""
    context: Any = None
    source = render_type("type", kind, context)
    names = {"sa": sa, "UTCDateTime": UTCDateTime}
    return eval(source, names) if source else kind  # noqa: S307  source of our own


class Shelf:
    """A table with one column, whose type migrations change."""

    def __init__(self, connection: Connection, kind: TypeEngine[Any]) -> None:
        self.connection, self.kind = connection, kind
        shelf(kind).create(connection)
        recorded(connection)["shelf", "value"] = named_by_a_migration(kind)

    def insert(self, *values: Any) -> None:
        self.connection.execute(shelf(self.kind).insert(), [{"value": value} for value in (*values, None)])

    @property
    def values(self) -> list[Any]:
        table = shelf(self.kind)
        found = list(self.connection.scalars(sa.select(table.c.value).order_by(table.c.id)))
        assert found.pop() is None
        return found

    def change(self, kind: TypeEngine[Any]) -> "Change":
        return Change(self, kind)


class Change:
    """A migration of a shelf to another type."""

    def __init__(self, place: Shelf, kind: TypeEngine[Any]) -> None:
        self.place, self.kinds, metadata = place, (place.kind, kind), shelf(kind).metadata
        options = {"autogenerate_plugins": PLUGINS, "target_metadata": metadata, "render_item": render_type}
        self.context = MigrationContext.configure(place.connection, opts=options)
        script = produce_migrations(self.context, metadata)
        complete(self.context, [script], metadata)
        self.sources = [
            render_python_code(part, render_as_batch=True, migration_context=self.context, render_item=render_type)
            for part in (script.upgrade_ops, script.downgrade_ops)
            if part is not None
        ]

    def up(self) -> None:
        self.run(0)

    def down(self) -> None:
        self.run(1)

    def run(self, step: int) -> None:
        names = {"op": Operations(self.context), "sa": sa, "UTCDateTime": UTCDateTime, "CommandError": CommandError}
        exec(f"if True:\n    {self.sources[step]}", names)  # noqa: S102  source of our own
        self.place.kind = self.kinds[1 - step]


@pytest.fixture
async def connection(new_database: Any) -> AsyncIterator[Any]:
    """Provide a function that calls another one with a connection to an empty database."""
    engine = engine_for(url_for(await new_database()))
    async with engine.begin() as connection:
        yield connection.run_sync
    await engine.dispose()


def decimal(whole: int, places: int, *, is_fixed: bool = True) -> DecimalColumn:
    return DecimalColumn(whole, places, is_fixed=is_fixed)


TEXT, JSON, ZONED = text_type(100), JsonColumn(TypeAdapter(dict[str, int])), UTCDateTime()
IDENT = UUID("0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")
SPAN = timedelta(days=400, seconds=5, microseconds=999_999)
NO_MONEY = [
    *("", "-", ".", "1.", ".5", "-.5", "--1", "1-", "+1", " 1", "1 ", "1e2", "1,5", "1.2.3", "NaN", "x", "\u0661"),
    *("007", "00", "-0", "-0.00", "1.005", "0.001000", "100000000", "123456789012345678901234567890"),
]
NOON = datetime(2024, 1, 19, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "values", "converted"),
    [
        (decimal(8, 4), MoneyColumn(), [Decimal("12.0000"), Decimal("-9.9000")], [Decimal("12.00"), Decimal("-9.90")]),
        (MoneyColumn(), decimal(8, 4), [Decimal("12.00"), Decimal("-0.01")], [Decimal("12.0000"), Decimal("-0.0100")]),
        (decimal(8, 2), decimal(10, 2), [Decimal("1.50")], [Decimal("1.50")]),
        (decimal(8, 8, is_fixed=False), decimal(9, 9, is_fixed=False), [Decimal("1.5")], [Decimal("1.5")]),
        (MoneyColumn(), Integer(), [Decimal("12.00"), Decimal("-3.00")], [12, -3]),
        (Integer(), MoneyColumn(), [12, -3], [Decimal("12.00"), Decimal("-3.00")]),
        (sa.BigInteger(), decimal(18, 0), [12], [Decimal(12)]),
        (sa.Float(), MoneyColumn(), [1.25, 2.5, -0.126], [Decimal("1.25"), Decimal("2.50"), Decimal("-0.13")]),
        (MoneyColumn(), sa.Float(), [Decimal("1.25")], [1.25]),
        (Integer(), sa.Float(), [3], [3.0]),
        (sa.Float(), Integer(), [3.0], [3]),
        (TEXT, Integer(), ["12", "-3", "0"], [12, -3, 0]),
        (Integer(), TEXT, [12, -3], ["12", "-3"]),
        (TEXT, sa.Date(), ["2026-01-31", "2024-02-29"], [date(2026, 1, 31), date(2024, 2, 29)]),
        (sa.Date(), TEXT, [date(2026, 1, 31)], ["2026-01-31"]),
        (TEXT, sa.Uuid(), [str(IDENT)], [IDENT]),
        (sa.Uuid(), TEXT, [IDENT], [str(IDENT)]),
        (ZONED, sa.Date(), [NOON], [NOON.date()]),
        (sa.Date(), ZONED, [NOON.date()], [NOON.replace(hour=0)]),
        (Integer(), sa.Boolean(), [0, 1], [False, True]),
        (sa.Boolean(), Integer(), [False, True], [0, 1]),
        (sa.Numeric(10, 2), MoneyColumn(), [Decimal("12.50"), Decimal("-0.01")], [Decimal("12.50"), Decimal("-0.01")]),
        (sa.Interval(), DurationColumn(), [SPAN, -SPAN, timedelta(0)], [SPAN, -SPAN, timedelta(0)]),
        (
            TEXT,
            MoneyColumn(),
            ["12.50", "-3", "0.1000", "-0.01", "99999999.99"],
            [Decimal("12.50"), Decimal("-3.00"), Decimal("0.10"), Decimal("-0.01"), Decimal("99999999.99")],
        ),
        (MoneyColumn(), TEXT, [Decimal("12.50"), Decimal("-0.01"), Decimal("0.00")], ["12.50", "-0.01", "0.00"]),
        (TEXT, decimal(18, 0), ["-12", "0.0"], [Decimal(-12), Decimal(0)]),
        (decimal(18, 0), TEXT, [Decimal(-12)], ["-12"]),
        (TEXT, decimal(9, 9, is_fixed=False), ["1.5", "0"], [Decimal("1.5"), Decimal(0)]),
        (decimal(9, 9, is_fixed=False), TEXT, [Decimal("1.5")], ["1.500000000"]),
    ],
)
async def test_values_are_converted_to_another_type(
    connection: Any, old: Any, new: Any, values: list[Any], converted: list[Any]
) -> None:
    def run(connection: Connection) -> None:
        place = Shelf(connection, old)
        place.insert(*values)
        change = place.change(new)
        change.up()
        assert place.values == converted
        change.down()
        change.up()
        assert place.values == converted

    await connection(run)


@on_postgresql
async def test_a_time_without_a_time_zone_is_one_in_utc(connection: Any) -> None:
    def run(connection: Connection) -> None:
        connection.execute(sa.text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        place = Shelf(connection, sa.DateTime())
        place.insert(NOON.replace(tzinfo=None))
        change = place.change(ZONED)
        change.up()
        assert place.values == [NOON]
        change.down()
        assert [value.hour for value in place.values] == [12]

    await connection(run)


@pytest.mark.parametrize(
    ("old", "new", "values", "rows"),
    [
        (decimal(8, 4), MoneyColumn(), [Decimal("12.3456"), Decimal("12.3400")], 1),
        (MoneyColumn(), decimal(2, 4), [Decimal("100.00"), Decimal("99.00"), Decimal("-100.00")], 2),
        (MoneyColumn(), Integer(), [Decimal("12.50"), Decimal("12.00")], 1),
        (sa.BigInteger(), MoneyColumn(), [10**8, 10**8 - 1], 1),
        (sa.Float(), MoneyColumn(), [1e9, 1.5], 1),
        (sa.Float(), Integer(), [1.5, 1.0, 1e10], 2),
        (sa.BigInteger(), sa.Float(), [2**53 + 1, 1], 1),
        (TEXT, Integer(), ["Room 1", "12", "007", "", "9999999999", "1e3", " 5"], 6),
        (TEXT, sa.Date(), ["2026-01-31", "2026-02-31", "soon", "2026-1-1", "0000-01-01", ""], 5),
        (TEXT, sa.Uuid(), ["10", str(IDENT), "g" * 32], 2),
        (Integer(), sa.Boolean(), [0, 1, 2], 1),
        (sa.Numeric(10, 4), sa.Numeric(10, 2), [Decimal("1.2500"), Decimal("1.2525")], 1),
        (TEXT, MoneyColumn(), ["1.50", *NO_MONEY], len(NO_MONEY)),
        (TEXT, decimal(18, 0), ["1", "1.5", "1."], 2),
        (TEXT, decimal(0, 2), ["0.25", "1.25"], 1),
        (sa.String(9), sa.String(3), ["four", "two"], 1),
        (TEXT, sa.String(3), ["four", "five", "six"], 2),
        (sa.BigInteger(), Integer(), [2**31, -(2**31), 2**31 - 1], 1),
        (Integer(), sa.SmallInteger(), [2**15, 1], 1),
    ],
)
async def test_values_that_would_change_are_refused_with_the_number_of_rows(
    connection: Any, old: Any, new: Any, values: list[Any], rows: int
) -> None:
    def run(connection: Connection) -> None:
        place = Shelf(connection, old)
        place.insert(*values)
        with pytest.raises(
            CommandError, match=rf"shelf\.value has values in {rows} of its rows that its new type cann"
        ):
            place.change(new).up()
        assert place.values == values

    await connection(run)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        (Integer(), DurationColumn(), 90),
        (TEXT, JSON, "few words"),
        (TEXT, decimal(30, 10), "12.50"),
        (DurationColumn(), sa.BigInteger(), timedelta(seconds=1)),
    ],
)
async def test_a_change_without_a_known_conversion_asks_for_one_if_there_are_values(
    connection: Any, old: Any, new: Any, value: Any
) -> None:
    def run(connection: Connection) -> None:
        place = Shelf(connection, old)
        change = place.change(new)
        change.up()
        change.down()
        place.insert(value)
        with pytest.raises(CommandError, match="has values in 1 of its rows that become another type: write the conv"):
            change.up()
        assert place.values == [value]

    await connection(run)


def test_the_kind_of_a_type_is_known_from_its_names_in_both_databases() -> None:
    as_text = sa.Numeric(decimal_return_scale=3).with_variant(sa.String(41), "sqlite")
    assert kind_of(as_text) == Kind("decimal", 20, 20)
    assert kind_of(decimal(30, 2)) == Kind("decimal", 30, 2)
    assert kind_of(postgresql.TSVECTOR()) is None


def test_a_type_that_is_not_known_has_no_conversion() -> None:
    assert conversion("value", None, None) is None
    found = conversion("value", None, Kind("text"))
    assert found is not None
    assert not found.is_known
    assert not is_other(None, Kind("text"))


@pytest.mark.no_fast_path
async def test_a_renamed_column_keeps_its_declared_type(connection: Any) -> None:
    def rename(given: Connection) -> None:
        Shelf(given, MoneyColumn())
        Operations(MigrationContext.configure(given)).alter_column("shelf", "value", new_column_name="worth")
        assert [name for _, name in recorded(given)] == ["worth"] or given.dialect.name == "postgresql"

    await connection(rename)


def test_an_enum_of_integers_is_written_as_a_column_of_integers() -> None:
    Floor: Any = IntEnum("Floor", "GROUND TOP")  # noqa: N806  a class
    assert kit_type(EnumColumn(Floor, None)) == "sa.BigInteger()"
