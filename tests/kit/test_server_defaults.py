"""Defaults of the database: the same value on both databases, in the form in which the column stores values."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import count
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations
from fastapi import APIRouter, Depends
from pydantic import AfterValidator, AnyHttpUrl, EmailStr
from sqlalchemy import Connection, FetchedValue, MetaData, func, make_url, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col, select, update
from sqlmodel.sql.sqltypes import UTCDateTime

from kit import (
    Database,
    Entity,
    ListQuery,
    Money,
    Page,
    Read,
    ReadSession,
    Service,
    Session,
    Stamped,
    Who,
    allowing,
    page,
)
from kit.database.migrating import engine_for
from kit.database.type_rendering import render_type
from tests.clients import client_of
from tests.engines import Client, url_for
from tests.kit.service import FAST_PATH, create_runtime, create_service, create_tables
from tests.kit.specimens import Colour, Level, Point
from tests.kit.test_comparison import context_of

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
REFUSED = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
METACLASS: Any = type(Entity)
NUMBERS = count()


class DefaultEntity(Entity, registry=REGISTRY):
    """The base class of the tables of this test, in a separate registry."""


class RefusedEntity(Entity, registry=REFUSED):
    """The base class of tables that are refused."""


@dataclass(frozen=True)
class Case:
    """A field with a default of the database, and its value in responses; None if it differs from row to row."""

    name: str
    annotation: Any
    default: Any
    shown: Any = None
    options: Any = ()

    @property
    def path(self) -> str:
        return f"/defaults/{self.name}/"

    def derived(self, suffix: str, *bases: Any, **more: Any) -> Any:
        options = {"table": True} if suffix == "Table" else {}
        return type(bases[0])(f"{self.name.title()}{suffix}", bases, {"__module__": __name__, **more}, **options)

    @cached_property
    def base(self) -> Any:
        field = Field(default=None, sa_column_kwargs={"server_default": self.default}, **dict(self.options))
        return type("Base", (SQLModel,), {"__annotations__": {"value": self.annotation}, "value": field})

    @cached_property
    def table(self) -> Any:
        return self.derived("Table", self.base, DefaultEntity, __tablename__=f"default_{self.name}")

    @cached_property
    def router(self) -> APIRouter:
        router = APIRouter(prefix=self.path.rstrip("/"), route_class=allowing(read=Who.MEMBERS, create=Who.MEMBERS))
        table, read = self.table, self.derived("Read", Stamped, self.base, Read)
        names = {} if "index" not in dict(self.options) else {"filters": ("value",), "sorts": ("value",)}
        query = self.derived("Query", ListQuery, model=table, read=read, **names)

        @router.get("/", response_model=list[read], operation_id=f"list_{self.name}")  # type: ignore[valid-type]
        async def list_them(query: Annotated[Any, Depends(query)], session: ReadSession) -> Page:
            return await page(session, query, select(table))

        @router.post("/", response_model=read, status_code=201, operation_id=f"create_{self.name}")
        async def create_one(session: Session) -> Any:
            row = table()
            session.add(row)
            return row

        return router


ID = "00000000-0000-0000-0000-00000000000a"
INDEX = {"index": True}
CASES = [
    Case("flag", bool, "false", False, INDEX),
    Case("flag_true", bool, text("true"), True, INDEX),
    Case("flag_sql", bool, sa.true(), True, INDEX),
    Case("flag_number", bool, "0", False, INDEX),
    Case("whole", int, "7", 7, INDEX),
    Case("computed", int, text("(1 + 1)"), 2, INDEX),
    Case("ratio", float, text("1.5"), 1.5, INDEX),
    Case("amount", Decimal, "9.99", "9.99", {**INDEX, "max_digits": 8, "decimal_places": 2}),
    Case("money", Money, sa.literal(5), "5.00", INDEX),
    Case("any_amount", Decimal, "9.99", "9.99", INDEX),
    Case("title", str, "it's 5 % of :a", "it's 5 % of :a", {**INDEX, "max_length": 20}),
    Case("title_sql", str, func.lower("ABC"), "abc", {**INDEX, "max_length": 20}),
    Case("email", EmailStr, text("'a@example.com'::varchar"), "a@example.com", INDEX),
    Case("link", AnyHttpUrl, "http://a.example", "http://a.example/"),
    Case("data", bytes, "abc", "YWJj"),
    Case("data_hex", bytes, r"\x616263", "YWJj"),
    Case("day", date, "2026-01-31", "2026-01-31", INDEX),
    Case("today", date, func.current_date(), None, INDEX),
    Case("clock", time, "10:00", "10:00:00", INDEX),
    Case("clock_now", time, text("CURRENT_TIME"), None, INDEX),
    Case("moment", datetime, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", INDEX),
    Case("moment_offset", datetime, text("'2026-01-01 02:00:00+02'"), "2026-01-01T00:00:00Z", INDEX),
    Case("moment_naive", datetime, "2026-01-01 00:00", "2026-01-01T00:00:00Z", INDEX),
    Case("moment_now", datetime, func.now(), None, INDEX),
    Case("moment_text", Optional[datetime], text("CURRENT_TIMESTAMP"), None, INDEX),  # noqa: UP045
    Case("span", timedelta, "1 day", "P1D", INDEX),
    Case("span_clock", timedelta, "1 day 02:00:00", "P1DT2H", INDEX),
    Case("span_iso", timedelta, "PT2H", "PT2H", INDEX),
    Case("key", UUID, ID, ID, INDEX),
    Case("key_random", UUID, text("gen_random_uuid()"), None, INDEX),
    Case("colour", Colour, "red", "red", INDEX),
    Case("level", Level, "20", 20, INDEX),
    Case("name", Colour, "RED", "red", {**INDEX, "sa_type": sa.Enum(Colour, native_enum=False)}),
    Case("literal", Literal["a", "b"], "b", "b", INDEX),
    Case("address", IPv4Address, "10.0.0.9", "10.0.0.9", INDEX),
    Case("address6", IPv6Address, "::1", "::1", INDEX),
    Case("network", IPv4Network, "10.0.0.0/8", "10.0.0.0/8", INDEX),
    Case("tags", list[str], '["b", "a"]', ["b", "a"]),
    Case("attributes", dict[str, Any], text("""CAST('{"a": 1}' AS json)"""), {"a": 1}),
    Case("point", Point, '{"x": 1}', {"x": 1, "at": None}),
    Case("absent", Optional[int], text("NULL"), None),  # noqa: UP045
    Case("validated", Annotated[int, AfterValidator(lambda value: value)], "7", 7),
]
LISTED = [case for case in CASES if "index" in dict(case.options)]


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture(scope="module")
async def database(new_database: Any) -> Database:
    database = Database(url_for(await new_database()))
    await create_tables(database)
    tables = [case.table.__table__ for case in CASES]
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all, tables=tables)
    return database


@pytest.fixture(
    scope="module", params=[True, False] if FAST_PATH else [False], ids=["fast", "plain"] if FAST_PATH else ["plain"]
)
async def service(request: Any, database: Database) -> AsyncIterator[Service]:
    app = create_service(create_runtime(database), *(case.router for case in CASES), fast=request.param)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with client_of(service) as client:
        yield client


async def posted(client: Client, case: Case) -> Any:
    response = await client.post(case.path)
    assert response.status_code == 201, response.text
    return response.json()


@each(CASES)
async def test_a_row_without_a_value_has_the_default_and_shows_the_same_in_lists(client: Client, case: Case) -> None:
    row = await posted(client, case)
    assert row["value"] == case.shown or case.shown is None
    rows = (await client.get(case.path)).json()
    assert row in rows


@each(LISTED)
async def test_a_filter_by_the_shown_default_finds_the_row(client: Client, case: Case) -> None:
    row = await posted(client, case)
    shown = str(row["value"]).lower() if isinstance(row["value"], bool) else str(row["value"])
    found = await client.get(case.path, params={"value": shown})
    assert row in found.json()


@each(LISTED)
async def test_pages_lead_to_each_row_with_a_default_once(client: Client, case: Case) -> None:
    await posted(client, case)
    await posted(client, case)
    every = {row["id"] for row in (await client.get(case.path)).json()}
    for sort in ("value", "-value"):
        ids: list[int] = []
        response = await client.get(case.path, params={"sort": sort, "limit": 1})
        while len(ids) <= len(every):
            ids += [row["id"] for row in response.json()]
            if "next" not in response.links:
                break
            response = await client.get(response.links["next"]["url"])
        assert (len(ids), set(ids)) == (len(every), every)


def columns_of_all() -> MetaData:
    """Return a table with the columns of all cases."""
    values = {case.name: case.table.__table__.c.value for case in CASES}
    columns = [sa.Column(name, one.type, server_default=one.server_default.arg) for name, one in values.items()]
    return sa.Table("migrated", MetaData(), *columns).metadata


async def written_on_sqlite(metadata: MetaData) -> str:
    """Return the body of a migration that creates the tables, written with a SQLite database at hand."""

    def write(connection: Connection) -> str:
        context = context_of(connection, metadata)
        script = produce_migrations(context, metadata).upgrade_ops
        assert script is not None
        return render_python_code(script, migration_context=context, render_item=render_type)

    engine = engine_for(make_url("sqlite+aiosqlite://"))
    async with engine.begin() as connection:
        body = await connection.run_sync(write)
    await engine.dispose()
    return body


def defaults_of(connection: Connection, table: str) -> dict[str, str | None]:
    return {column["name"]: column["default"] for column in sa.inspect(connection).get_columns(table)}


@pytest.mark.no_fast_path
async def test_a_migration_of_sqlite_writes_the_defaults_for_both_databases(database: Database) -> None:
    migrated = columns_of_all()
    body = await written_on_sqlite(migrated)

    def run(connection: Connection) -> None:
        with Operations.context(context_of(connection, migrated)) as op:
            exec(f"if True:\n    {body}", {"op": op, "sa": sa, "UTCDateTime": UTCDateTime})  # noqa: S102
        declared = {case.name: defaults_of(connection, case.table.__tablename__)["value"] for case in CASES}
        assert defaults_of(connection, "migrated") == declared

    async with database.writer.begin() as connection:
        await connection.run_sync(run)


@pytest.mark.no_fast_path
async def test_the_time_of_the_database_is_stored_in_the_form_of_the_column(database: Database) -> None:
    case = next(case for case in CASES if case.name == "moment_text")
    async with database.write() as session:
        session.add(row := case.table(value=None))
        await session.flush()
        for value in (func.now(), func.current_timestamp(), func.coalesce(case.table.value, func.now())):
            await session.exec(update(case.table).values(value=value))
            row.value = func.now()
            await session.flush()
            await session.refresh(row)
            stored = (await session.exec(select(case.table).where(col(case.table.value) == row.value))).all()
            assert row in stored
        assert (await session.scalar(select(case.table.value <= func.now()))) is True


@pytest.fixture(autouse=True)
def no_refused_tables_remain() -> Iterator[None]:
    yield
    REFUSED.dispose()
    REFUSED.metadata.clear()


def declare(annotation: Any, default: Any, **options: Any) -> Any:
    field = Field(default=None, sa_column_kwargs={"server_default": default}, **options)
    content = {"__annotations__": {"value": annotation}, "value": field}
    return METACLASS(f"Vase{next(NUMBERS)}", (RefusedEntity,), content, table=True)


@pytest.mark.no_fast_path
@pytest.mark.parametrize(
    ("annotation", "default", "written"),
    [
        (int, "x", "'7'"),
        (bool, "maybe", "'true' or 'false'"),
        (Money, "5.123", "'9.99'"),
        (Decimal, "x", "'9.99'"),
        (Colour, "green", "a value of the field"),
        (date, "2026-02-30", "'2026-01-31'"),
        (timedelta, "1 fortnight", "'1 day 02:00:00'"),
        (UUID, "x", "'0190163d"),
    ],
)
def test_a_default_that_is_no_value_of_its_field_is_refused(annotation: Any, default: Any, written: str) -> None:
    with pytest.raises(
        TypeError, match=rf"Vase\d+.value has the server_default '{default}', which is not a value of .*{written}"
    ):
        declare(annotation, default)


@pytest.mark.no_fast_path
@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int, text("nextval('numbers')")),
        (datetime, text("now() + interval '1 day'")),
        (datetime, text("timezone('utc', now())")),
        (str, func.current_user()),
        (Money, text("(1 + 1)")),
    ],
)
def test_a_default_that_may_differ_between_the_databases_is_refused(annotation: Any, default: Any) -> None:
    with pytest.raises(TypeError, match=r"which is not known to be the same on SQLite and PostgreSQL: write a literal"):
        declare(annotation, default)


@pytest.mark.no_fast_path
def test_a_default_of_a_trigger_or_of_another_type_is_left_as_it_is() -> None:
    trigger = FetchedValue()
    assert declare(int, trigger).__table__.c.value.server_default is trigger
    REFUSED.metadata.clear()
    other = declare(dict, text("'{}'::jsonb"), sa_type=JSONB)
    assert str(other.__table__.c.value.server_default.arg) == "'{}'::jsonb"
    REFUSED.metadata.clear()


@pytest.mark.no_fast_path
def test_an_index_on_json_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Vase\d+.value is JSON and has an index, .* leave out the index"):
        declare(dict, "{}", index=True)
