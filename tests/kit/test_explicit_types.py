"""Explicit column types: every type of SQLAlchemy works alike on both databases, or is refused with its field."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
import sqlmodel
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from pydantic import AnyHttpUrl, BaseModel, EmailStr, NaiveDatetime
from sqlalchemy import Column, ForeignKey, MetaData, TypeDecorator, types
from sqlalchemy.dialects import postgresql
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

from kit import Database, Service
from kit.database.comparison import PLUGINS
from kit.database.migrating import engine_for
from kit.database.type_rendering import render_type
from kit.models.columns import DecimalColumn
from kit.models.naming import NAMES
from tests.clients import client_of
from tests.engines import Client, empty, url_for
from tests.kit.service import FAST_PATH, create_runtime, create_service, create_tables
from tests.kit.specimens import REGISTRY, Colour, Kind, Level, Size, Specimen
from tests.kit.test_said_once import checks, entity_of, no_entities_remain, table_of

__all__ = ["no_entities_remain"]


class Mixed(Enum):
    """Members that JSON does not know."""

    ONE = 1
    TWO = "two"


class Rank(Enum):
    FIRST = 1


class Shape(BaseModel):
    sides: int


class Cents(TypeDecorator[int]):
    """A type of the application."""

    impl = sa.SmallInteger
    cache_ok = True


BY_NAME, BY_VALUE = sa.Enum(Colour, native_enum=False), sa.Enum("blue", "red", native_enum=False)
LATE, LONG = "23:59:59.999999", "P106751991D"
SPANS, TEXTS = ["-P1D", "PT0.000001S", LONG], ["", "B", "a", "\u00e9", "\U0001f600"]
MOMENTS = ["1969-12-31T23:59:59.999999Z", "2026-01-01T00:00:00.000001Z"]
IDS = ["00000000-0000-0000-0000-000000000012", "12345678-9012-3456-7890-123456789012"]
FLOATS, NO_FLOATS = [-1e300, 0.1, 16777217.0], ["1", "NaN"]
AMOUNTS, NO_AMOUNTS = ["-99999999.99", "0.10", "99999999.99"], ["1.234", "100000000", 1e12]
PRECISE = ["-1.234567890123456789012", "0.1", "123456789012345678901234567890"]
TOO_LONG = ["abcdef", 5]
WORKING: list[tuple[Any, Any, list[Any], list[Any]]] = [
    (int, sa.SmallInteger, [-32768, 5, 32767], [32768, -32769]),
    (int, sa.SMALLINT, [-32768, 32767], [40000]),
    (int, sa.Integer, [-(2**31), 2**31 - 1], [2**31]),
    (int, sa.INTEGER, [-(2**31), 2**31 - 1], [2**31]),
    (int, sa.BigInteger, [-(2**63), 2**63 - 1], [2**63]),
    (int, sa.BIGINT, [-(2**63), 2**63 - 1], [2**63]),
    (bool, sa.Boolean, [False, True], [0]),
    (bool, sa.BOOLEAN, [False, True], ["true"]),
    (float, sa.Float, FLOATS, NO_FLOATS),
    (float, sa.Float(53), FLOATS, NO_FLOATS),
    (float, sa.FLOAT, FLOATS, NO_FLOATS),
    (float, sa.Double, FLOATS, NO_FLOATS),
    (float, sa.DOUBLE, FLOATS, NO_FLOATS),
    (float, sa.DOUBLE_PRECISION, FLOATS, NO_FLOATS),
    (Decimal, sa.Numeric(10, 2), AMOUNTS, NO_AMOUNTS),
    (Decimal, sa.NUMERIC(10, 2), AMOUNTS, NO_AMOUNTS),
    (Decimal, sa.DECIMAL(10, 2), AMOUNTS, NO_AMOUNTS),
    (Decimal, sa.Numeric(3), ["-999", "0", "999"], ["1.5", "1000"]),
    (Decimal, sa.Numeric, PRECISE, ["1" * 31]),
    (str, sa.String, TEXTS, ["a" * 501]),
    (str, sa.String(5), ["", "abcde"], TOO_LONG),
    (str, sa.VARCHAR(5), TEXTS, TOO_LONG),
    (str, sa.Unicode(5), TEXTS, TOO_LONG),
    (str, AutoString(5), TEXTS, TOO_LONG),
    (str, sa.Text(5), TEXTS, TOO_LONG),
    (str, sa.TEXT, TEXTS, ["a" * 501]),
    (str, sa.UnicodeText, TEXTS, ["a" * 501]),
    (EmailStr, sa.String(15), ["Z@example.com", "a@example.com"], ["aaaa@example.com", "x"]),
    (AnyHttpUrl, sa.String(20), ["http://a.example/", "http://b.example/"], ["http://too-long.example/"]),
    (IPv4Address, sa.String, ["9.0.0.1", "10.0.0.10"], ["x"]),
    (Colour, BY_NAME, ["blue", "red"], ["RED"]),
    (Colour, sa.Enum(Colour, native_enum=False, values_callable=lambda kind: [each.value for each in kind]),
     ["blue", "red"], ["RED"]),
    (Size, sa.Enum("L", "S", native_enum=False), ["L", "S"], ["M"]),
    (Level, sa.Enum(Level, native_enum=False), [20, 1], [2]),
    (Literal["blue", "red"], BY_VALUE, ["blue", "red"], ["green"]),
    (Literal["no", "yes"], sa.String(3), ["no", "yes"], ["maybe"]),
    (Level, sa.SmallInteger, [1, 20], [2]),
    (bytes, sa.LargeBinary(3), ["", "AAEC"], ["AAECAw=="]),
    (bytes, sa.PickleType, ["", "AAEC"], ["x"]),
    (date, sa.Date, ["0001-01-01", "9999-12-31"], ["2026-01-01T00:00:00Z"]),
    (date, sa.DATE, ["0001-01-01", "9999-12-31"], [5]),
    (datetime, sa.DateTime, MOMENTS, [5]),
    (datetime, sa.DATETIME, MOMENTS, [5]),
    (datetime, sa.TIMESTAMP, MOMENTS, [5]),
    (datetime, UTCDateTime, MOMENTS, [5]),
    (time, sa.Time, ["00:00:00", LATE], ["10:00:00Z"]),
    (time, sa.TIME, ["00:00:00", LATE], ["10:00:00Z"]),
    (timedelta, sa.Interval, SPANS, ["P99999999999D"]),
    (UUID, sa.Uuid, IDS, ["zz"]),
    (UUID, sa.Uuid(native_uuid=False), IDS, ["zz"]),
    (UUID, sa.UUID, IDS, ["zz"]),
    (dict[str, Any], sa.JSON, [{}, {"a": [1, None]}], [[], {"a": "\0"}]),
    (list[str | None], sa.JSON, [[], ["b", None]], [{}, [1]]),
    (list[Colour], sa.PickleType, [["red"]], [["RED"]]),
]  # fmt: skip
"""Annotations and types, each with valid values in their order, and with invalid ones."""
NOT_SORTED = (sa.LargeBinary, sa.PickleType, sa.JSON)
REFUSED: list[tuple[Any, Any]] = [
    (str, sa.Enum("draft", "open", native_enum=False)),
    (Literal["draft", "lost"], sa.Enum("draft", "open", native_enum=False)),
    (Rank, sa.Enum("1", native_enum=False)),
    (Colour, sa.String(9)),
    (Literal["a", "bc"], sa.String(1)),
    (Rank, sa.Integer),
    (Literal[1, 40000], sa.SmallInteger),
    (str, sa.Uuid(as_uuid=False)),
    (UUID, sa.Uuid(as_uuid=False)),
    (UUID, sa.String(36)),
    (str, sa.CHAR(5)),
    (str, sa.NCHAR(5)),
    (str, sa.NVARCHAR(5)),
    (str, sa.CLOB),
    (str, sa.String(5, collation="NOCASE")),
    (IPv4Address, sa.String(9)),
    (bytes, sa.BLOB),
    (bytes, sa.BINARY(3)),
    (bytes, sa.VARBINARY(3)),
    (float, sa.REAL),
    (float, sa.Float(24)),
    (float, sa.Float(asdecimal=True)),
    (float, sa.Numeric(10, 2)),
    (float, sa.Numeric(10, 2, asdecimal=False)),
    (Decimal, sa.Numeric(10, 2, asdecimal=False)),
    (Decimal, sa.Numeric(2, 5)),
    (Decimal, sa.Float),
    (int, sa.Numeric(20, 0)),
    (int, sa.PickleType),
    (bool, sa.Integer),
    (bool, types.MatchType),
    (datetime, sa.Date),
    (datetime, sa.String(30)),
    (date, sa.DateTime),
    (time, sa.Time(timezone=True)),
    (timedelta, sa.Interval(second_precision=3)),
    (dict[int, str], sa.JSON),
    (list[date], sa.JSON),
    (tuple[int, ...], sa.JSON),
    (list[Shape], sa.JSON),
    (str, types.NullType),
    (str, types.TupleType()),
    (NaiveDatetime, sa.String(30)),
    (Mixed, sa.Integer),
]
OF_APPLICATIONS = (types.TypeEngine, types.TypeDecorator, types.UserDefinedType, types.ARRAY)
"""Base classes, and the type that only PostgreSQL has."""


def specimen(number: int, annotation: Any, stored: Any, values: list[Any], wrong: list[Any]) -> Specimen:
    is_sorted = not isinstance(types.to_instance(stored), NOT_SORTED)
    kind = Kind(f"explicit_{number}", annotation, values, wrong, field={"sa_type": stored})
    return Specimen(replace(kind, is_sorted=is_sorted, is_filtered=is_sorted), is_optional=False)


SPECIMENS = [specimen(number, *case) for number, case in enumerate(WORKING)]
working = pytest.mark.parametrize(
    "specimen", SPECIMENS, ids=[f"{stored!r} of {annotation}" for annotation, stored, _, _ in WORKING]
)

unsorted = pytest.mark.parametrize("specimen", [specimen for specimen in SPECIMENS if not specimen.kind.is_sorted])


@pytest.fixture(scope="module")
async def url(new_database: Any) -> str:
    """Provide the URL of a database with the tables of the specimens."""
    url: str = await new_database()
    database = Database(url_for(url))
    await create_tables(database)
    async with database.writer.begin() as connection:
        tables = [specimen.table.__table__ for specimen in SPECIMENS]
        await connection.run_sync(REGISTRY.metadata.create_all, tables=tables)
    await database.dispose()
    return url


PLAIN = pytest.param(False, marks=pytest.mark.exhaustive, id="plain")


@pytest.fixture(scope="module", params=[*([pytest.param(True, id="fast")] if FAST_PATH else []), PLAIN])
async def service(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """Provide a service with all specimens, with and without the fast path."""
    runtime = create_runtime(Database(url_for(url)))
    app = create_service(runtime, *(specimen.router for specimen in SPECIMENS), fast=request.param)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    await empty(service.runtime.database, [specimen.table.__table__ for specimen in SPECIMENS])
    async with client_of(service) as client:
        yield client


async def fill(client: Client, specimen: Specimen) -> None:
    """Store a row for each value, in reverse order."""
    for value in reversed(specimen.kind.values):
        response = await client.post(specimen.path, json={"value": value})
        assert response.status_code == 201, response.text
        url = f"{specimen.path}{response.json()['id']}"
        assert (await client.patch(url, json={"value": value})).json()["version"] == 1
        assert (response.json()["value"], (await client.get(url)).json()["value"]) == (value, value)


@working
async def test_a_value_is_read_sorted_and_filtered_as_it_was_stored(client: Client, specimen: Specimen) -> None:
    await fill(client, specimen)
    values, sort = specimen.kind.values, {"sort": "value", "limit": "1"} if specimen.kind.is_sorted else {"sort": "-id"}
    page = await client.get(specimen.path, params=sort)
    shown = [row["value"] for row in page.json()]
    while "next" in page.links and len(shown) <= len(values):
        page = await client.get(page.links["next"]["url"])
        shown += [row["value"] for row in page.json()]
    assert shown == list(values)
    for value in values if specimen.kind.is_filtered else ():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        found = await client.get(specimen.path, params={"value": text})
        assert [row["value"] for row in found.json()] == [value], found.text


@working
async def test_what_a_type_cannot_store_is_refused_with_its_field(client: Client, specimen: Specimen) -> None:
    for value in specimen.kind.wrong:
        response = await client.post(specimen.path, json={"value": value})
        assert (response.status_code, response.json()["errors"][0]["in"]) == (422, "body"), (value, response.text)
        assert response.json()["errors"][0]["pointer"].startswith("#/value")


@unsorted
async def test_a_bulk_update_changes_only_the_rows_with_another_value(client: Client, specimen: Specimen) -> None:
    await fill(client, specimen)
    value, ids = specimen.kind.values[0], [row["id"] for row in (await client.get(specimen.path)).json()]
    response = await client.patch(f"{specimen.path}bulk", json={"ids": ids, "changes": {"value": value}})
    assert response.json() == {"updated": len(ids)}
    rows = (await client.get(specimen.path)).json()
    assert [row["value"] for row in rows] == [value] * len(ids)
    assert [row["version"] for row in rows] == [2] * (len(ids) - 1) + [1]


@pytest.mark.parametrize(("annotation", "stored"), REFUSED)
def test_a_type_that_differs_between_the_databases_is_refused(annotation: Any, stored: Any) -> None:
    error = r"Once\d+\.value has the column type .*, which does not store values of type .* in the same way .*: "
    for options in ({"sa_type": stored}, {"sa_column": Column(stored)}):
        with pytest.raises(TypeError, match=error):
            entity_of(annotation, **options)


def test_every_type_of_sqlalchemy_works_or_is_refused() -> None:
    known = {type(types.to_instance(stored)) for _, stored, *_ in [*WORKING, *REFUSED]}
    every = {kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, types.TypeEngine)}
    public = {kind for kind in every if not kind.__name__.startswith("_") and kind.__name__ != "Variant"}
    assert public - known == set(OF_APPLICATIONS)


@pytest.mark.parametrize(
    ("stored", "error"),
    [
        (sa.Enum("a", "b", native_enum=False), r"annotate the field with `Literal\['a', 'b'\]`"),
        (sa.Uuid(as_uuid=False), "annotate the field with `UUID`"),
        (sa.CHAR(5), "leave the type out, and write `max_length`, or write a `TypeDecorator`"),
    ],
)
def test_the_refusal_of_a_type_says_what_to_write_instead(stored: Any, error: str) -> None:
    with pytest.raises(TypeError, match=error):
        entity_of(str, sa_type=stored)


@pytest.mark.parametrize(
    ("annotation", "stored"),
    [
        (int, Cents()),
        (str, postgresql.INET()),
        (list[str], postgresql.ARRAY(sa.String)),
        (str, sa.String(5).with_variant(sa.String(5, collation="de-x-icu"), "postgresql")),
        (Decimal, sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite")),
        (NaiveDatetime, sa.DateTime()),
        (Decimal, DecimalColumn(5, 5, is_fixed=False)),
        (Colour, sa.Enum(Colour)),  # refused at start, as in other tables
    ],
)
def test_a_type_of_the_application_or_of_one_database_is_used_as_it_is(annotation: Any, stored: Any) -> None:
    assert type(table_of(annotation, sa_type=stored).c.value.type) is type(stored)


def test_bounds_are_the_narrowest_of_those_of_the_field_and_those_of_its_type() -> None:
    assert table_of(Decimal, sa_type=sa.Numeric(10, 2), max_digits=5, decimal_places=1).c.value.type.digits == 5  # type: ignore[attr-defined]  # a DecimalColumn
    for options, value in (
        ({"sa_type": Cents()}, 40000),
        ({"sa_type": sa.SmallInteger, "ge": 5}, 4),
        ({"sa_type": sa.SmallInteger, "lt": 40000}, 32768),
        ({"sa_type": sa.SmallInteger, "le": 5}, 6),
    ):
        with pytest.raises(ValueError, match="validation error"):
            entity_of(int, **options).model_validate({"value": value})


def test_the_check_of_an_enum_has_the_texts_that_are_stored() -> None:
    stored = sa.Enum(Colour, native_enum=False, create_constraint=True, name="colours")
    assert checks(table_of(Colour, sa_type=stored)) == ["ck_once_colours: value IN ('RED', 'BLUE')"]


def test_a_foreign_key_without_a_type_has_that_of_its_target() -> None:
    column: Column[Any] = Column(ForeignKey("once.id"))
    assert isinstance(table_of(int, sa_column=column).c.value.type, sa.BigInteger)


async def test_a_migration_creates_the_columns_of_all_types(new_database: Any) -> None:
    metadata = MetaData(naming_convention=NAMES)
    for specimen in SPECIMENS:
        specimen.table.__table__.to_metadata(metadata)
    known = {"sa": sa, "UTCDateTime": UTCDateTime, "sqlmodel": sqlmodel}

    def run(connection: sa.Connection) -> Any:
        options = {"autogenerate_plugins": PLUGINS, "target_metadata": metadata}
        context = MigrationContext.configure(connection, opts=options)
        created: Any = produce_migrations(context, metadata).upgrade_ops
        body = render_python_code(created, migration_context=context, render_item=render_type)
        with Operations.context(context) as op:
            exec(f"if True:\n    {body}", {**known, "op": op})  # noqa: S102  a migration is executed like this
        left: Any = produce_migrations(context, metadata).upgrade_ops
        return left.as_diffs()

    engine = engine_for(url_for(await new_database()))
    async with engine.begin() as connection:
        assert await connection.run_sync(run) == []
    await engine.dispose()
