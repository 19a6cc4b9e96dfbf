"""Decimals and durations in SQL: each expression has the same value on SQLite and PostgreSQL, and is stored as such."""

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Computed,
    Float,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Text,
    bindparam,
    case,
    cast,
    column,
    distinct,
    extract,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    text,
    tuple_,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import CompileError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import aliased, column_property, registry
from sqlmodel import Field, SQLModel

from kit import Database, Entity, Money, MoneyColumn
from kit.database.errors import FAILURES, meaning_of
from kit.models.decimal_forms import decimal_of
from kit.models.decimal_rules import decimals_of
from tests.engines import empty, url_for

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
D = Decimal
HOUR = timedelta(hours=1)


class Shop(Entity, registry=REGISTRY):
    """Base class of the tables of these tests."""


class Sale(Shop, table=True):
    price: Money
    rate: Decimal = Field(max_digits=8, decimal_places=4)
    free: Decimal | None = None
    large: Decimal = Field(default=D(1), max_digits=20, decimal_places=2)
    quantity: int = 0
    ratio: float = 0.5
    whole: int = 0
    name: str = "x"
    length: timedelta = HOUR
    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @hybrid_property
    def gross(self) -> Any:
        return self.price * (1 + self.rate)


S: Any = Sale
OTHER: Any = aliased(Sale)
S.doubled = column_property(S.price * 2)
LARGE = D("12345678901234567.89")
FIRST: dict[str, Any] = {
    "price": D("2.50"),
    "rate": D("2.5"),
    "quantity": 3,
    "length": 2 * HOUR,
    "large": D("12345678901234567.89"),
}
SECOND: dict[str, Any] = {"price": D("0.29"), "rate": D("0.1"), "free": D("-1.5"), "quantity": 1}


@pytest.fixture(scope="module")
async def sales(new_database: Any) -> AsyncIterator[Database]:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
async def session(sales: Database) -> AsyncIterator[AsyncSession]:
    """Provide a session of a database with two sales."""
    await empty(sales, [S.__table__])
    async with AsyncSession(sales.writer, expire_on_commit=False) as session:
        session.add_all([Sale(**FIRST)])
        await session.flush()
        session.add_all([Sale(**SECOND)])
        await session.flush()
        session.expunge_all()
        yield session


def is_close(value: Any, expected: Any) -> bool:
    """Return whether a value has the expected type and, to 14 digits, the expected number."""
    if not isinstance(expected, Decimal) or not isinstance(value, Decimal):
        return type(value) is type(expected) and bool(value == expected)
    return abs(value - expected) <= abs(expected) * D("1e-14")


def total(expression: Any, **options: Any) -> Any:
    return func.sum(expression).over(**options)


VALUES: list[tuple[str, Callable[[], Any], list[Any]]] = [
    ("times_two", lambda: S.price * 2, [D("5.00"), D("0.58")]),
    ("times_fraction", lambda: S.price * D("1.19"), [D("2.975"), D("0.3451")]),
    ("times_float", lambda: S.price * 1.19, [D("2.975"), D("0.3451")]),
    ("fraction_times", lambda: D("1.005") * S.price, [D("2.5125"), D("0.29145")]),
    ("times_integer", lambda: S.price * S.quantity, [D("7.5"), D("0.29")]),
    ("integer_times", lambda: S.quantity * S.price, [D("7.5"), D("0.29")]),
    ("times_other_scale", lambda: S.price * S.rate, [D("6.25"), D("0.029")]),
    ("product_of_four", lambda: S.price * S.rate * S.quantity * 2, [D("37.5"), D("0.058")]),
    ("plus_other_scale", lambda: S.price + S.rate, [D("5.0"), D("0.39")]),
    ("minus_other_scale", lambda: S.price - S.rate - 1, [D("-1.0"), D("-0.81")]),
    ("plus_one", lambda: S.price + 1, [D("3.5"), D("1.29")]),
    ("one_minus", lambda: 1 - S.price, [D("-1.5"), D("0.71")]),
    ("plus_more_places", lambda: S.price + D("0.255"), [D("2.755"), D("0.545")]),
    ("plus_integer", lambda: S.price + S.quantity, [D("5.5"), D("1.29")]),
    ("divided", lambda: S.price / S.quantity, [D("0.83333333333333333333"), D("0.29")]),
    ("divided_by_two", lambda: S.price / 2, [D("1.25"), D("0.145")]),
    ("integer_divided", lambda: S.quantity / S.price, [D("1.2"), D("3.4482758620689655172")]),
    ("divided_by_other_scale", lambda: S.price / S.rate, [D(1), D("2.9")]),
    ("floor_division", lambda: S.price // 2, [D(1), D(0)]),
    ("remainder", lambda: S.price % 2, [D("0.5"), D("0.29")]),
    ("negative", lambda: -S.price, [D("-2.5"), D("-0.29")]),
    ("absolute", lambda: func.abs(-S.price), [D("2.5"), D("0.29")]),
    ("round", lambda: func.round(S.price), [D(3), D(0)]),
    ("round_to_one", lambda: func.round(S.price, 1), [D("2.5"), D("0.3")]),
    ("round_product", lambda: func.round(S.price * D("1.19"), 2), [D("2.98"), D("0.35")]),
    ("floor", lambda: func.floor(S.price), [D(2), D(0)]),
    ("ceil", lambda: func.ceil(S.price), [D(3), D(1)]),
    ("trunc", lambda: func.trunc(-S.price, 1), [D("-2.5"), D("-0.2")]),
    ("mod", lambda: func.mod(S.price, 2), [D("0.5"), D("0.29")]),
    ("coalesce_integer", lambda: func.coalesce(S.free, 0), [D(0), D("-1.5")]),
    ("coalesce_column", lambda: func.coalesce(S.free, S.price), [D("2.5"), D("-1.5")]),
    ("coalesce_decimal", lambda: func.coalesce(S.free, D("0.1")), [D("0.1"), D("-1.5")]),
    ("case_integer", lambda: case((S.quantity > 1, S.price), else_=0), [D("2.5"), D(0)]),
    ("case_decimal", lambda: case((S.quantity > 1, S.price), else_=D("2.5")), [D("2.5"), D("2.5")]),
    ("case_column", lambda: case((S.quantity > 1, S.price), else_=S.rate), [D("2.5"), D("0.1")]),
    ("case_null", lambda: case((S.quantity > 1, S.price), else_=null()), [D("2.5"), None]),
    ("case_of_value", lambda: case({D("2.5"): 1, D("0.29"): 2}, value=S.price, else_=3), [1, 2]),
    ("nullif", lambda: func.nullif(S.price, D("2.50")), [None, D("0.29")]),
    ("nullif_other_scale", lambda: func.nullif(S.price, S.rate), [None, D("0.29")]),
    ("as_float", lambda: cast(S.price, Float), [2.5, 0.29]),
    ("as_integer", lambda: cast(S.price, Integer), [3, 0]),
    ("as_text", lambda: cast(S.price, String), ["2.50", "0.29"]),
    ("as_text_with_unit", lambda: cast(S.price, Text) + " EUR", ["2.50 EUR", "0.29 EUR"]),
    ("as_text_of_text", lambda: func.length(cast(S.free, String)), [None, 4]),
    ("concatenated", lambda: S.name.concat(S.price), ["x2.50", "x0.29"]),
    ("other_scale_as_money", lambda: cast(S.price * D("1.19"), MoneyColumn), [D("2.98"), D("0.35")]),
    ("integer_as_money", lambda: cast(S.quantity, MoneyColumn), [D(3), D(1)]),
    ("equal", lambda: S.price == S.rate, [True, False]),
    ("greater_than_integer", lambda: S.quantity > S.price, [True, True]),
    ("greater_than_other_scale", lambda: S.price > S.rate, [False, True]),
    ("greater_than_float", lambda: S.price > 2.4, [True, False]),
    ("equal_to_more_places", lambda: S.price == D("2.504"), [False, False]),
    ("greater_than_more_places", lambda: S.price > D("2.4999"), [True, False]),
    ("product_equal", lambda: S.price * D("1.19") == D("2.975"), [True, False]),
    ("distinct_from", lambda: S.price.is_distinct_from(S.rate), [False, True]),
    ("is_null", lambda: S.free.is_(None), [True, False]),
    ("in_values", lambda: S.price.in_([D("2.50"), D("0.294")]), [True, False]),
    ("in_columns", lambda: S.price.in_([S.rate, 1]), [True, False]),
    ("in_statement", lambda: S.price.in_(select(OTHER.rate)), [True, False]),
    ("integer_in_statement", lambda: S.quantity.in_(select(OTHER.price)), [False, False]),
    ("between", lambda: case((S.price.between(1, S.rate), 1), else_=0), [1, 0]),
    ("literal", lambda: literal(D("0.29")) == S.price, [False, True]),
    ("literal_column", lambda: S.price < literal_column("2.5"), [False, True]),
    ("parameter", lambda: S.price > bindparam("least", D("0.5")), [True, False]),
    ("floats", lambda: S.price > S.ratio, [True, False]),
    ("of_float", lambda: cast(S.price * S.ratio, Numeric(8, 3)) == D("1.25"), [True, False]),
    ("maximum", lambda: select(func.max(OTHER.price)).scalar_subquery(), [D("2.5"), D("2.5")]),
    ("average_plus", lambda: select(func.avg(OTHER.price)).scalar_subquery() + 1, [D("2.395"), D("2.395")]),
    ("window_sum", lambda: total(S.price, order_by=S.id), [D("2.5"), D("2.79")]),
    ("window_average", lambda: func.avg(S.price).over(), [D("1.395"), D("1.395")]),
    ("window_lag", lambda: func.lag(S.price).over(order_by=S.id), [None, D("2.5")]),
    ("window_lead", lambda: func.lead(S.price, 1, 0).over(order_by=S.id), [D("0.29"), D(0)]),
    ("window_first", lambda: func.first_value(S.price).over(order_by=S.id), [D("2.5"), D("2.5")]),
    ("share", lambda: S.price * 100 / func.sum(S.price).over(), [D("89.60573476702508961"), D("10.39426523297491039")]),
    ("hybrid", lambda: S.gross, [D("8.75"), D("0.319")]),
    ("column_property", lambda: S.doubled, [D("5"), D("0.58")]),
    ("label", lambda: (S.price * 2).label("twice"), [D("5"), D("0.58")]),
    ("coerced", lambda: type_coerce(S.price * 2, MoneyColumn), [D("5"), D("0.58")]),
    ("other_function", lambda: cast(func.sqrt(S.price * S.price), Numeric(9, 4)) == S.price, [True, True]),
    ("unbounded_plus", lambda: S.free + 1, [None, D("-0.5")]),
    ("unbounded_negative", lambda: -S.free, [None, D("1.5")]),
    ("unbounded_divided", lambda: S.free / 4, [None, D("-0.375")]),
    ("unbounded_smaller", lambda: S.free < S.quantity, [None, True]),
    ("unbounded_sum", lambda: select(func.sum(OTHER.free)).scalar_subquery(), [D("-1.5"), D("-1.5")]),
    ("unbounded_window", lambda: func.sum(S.free).over(), [D("-1.5"), D("-1.5")]),
    ("large_plus", lambda: S.large + S.price, [D("12345678901234570.39"), D("1.29")]),
    ("large_window", lambda: total(S.large), [D("12345678901234568.89")] * 2),
    ("large_filter", lambda: func.sum(S.large).filter(S.quantity > 1).over(), [D("12345678901234567.89")] * 2),
    ("large_equal", lambda: S.large == D("12345678901234567.89"), [True, False]),
    ("large_equal_to_more_places", lambda: S.large == D("1.001"), [False, False]),
    ("large_beyond", lambda: S.large < D("1e40"), [True, True]),
    ("large_below", lambda: S.large < D("-1e40"), [False, False]),
    ("large_absolute", lambda: func.abs(-S.large), [D("12345678901234567.89"), D("1")]),
    ("large_literal", lambda: S.price + LARGE * 10, [D("123456789012345681.4"), D("123456789012345679.19")]),
    ("duration_doubled", lambda: S.length * 2, [4 * HOUR, 2 * HOUR]),
    ("duration_times_fraction", lambda: S.length * D("1.5"), [3 * HOUR, 1.5 * HOUR]),
    ("duration_halved", lambda: S.length / 2, [HOUR, HOUR / 2]),
    ("duration_times_decimal", lambda: S.length * S.price, [5 * HOUR, 0.29 * HOUR]),
    ("durations_added", lambda: S.length + S.length + HOUR, [5 * HOUR, 3 * HOUR]),
    ("duration_compared", lambda: S.length > 1.5 * HOUR, [True, False]),
    ("duration_average", lambda: func.avg(S.length).over(), [1.5 * HOUR, 1.5 * HOUR]),
    ("duration_coalesced", lambda: func.coalesce(S.length, timedelta(0)), [2 * HOUR, HOUR]),
    ("duration_case", lambda: case((S.quantity > 1, S.length), else_=timedelta(0)), [2 * HOUR, timedelta(0)]),
    ("literal_sum", lambda: S.price > literal_column("1 + 1"), [True, False]),
    ("product_of_integers", lambda: S.quantity * S.whole * 2, [0, 0]),
    ("absolute_float", lambda: func.abs(S.ratio), [0.5, 0.5]),
    ("year", lambda: cast(extract("year", S.moment), Integer), [2026, 2026]),
    ("in_null", lambda: case((S.price.in_([D("2.5"), None]), 1), else_=0), [1, 0]),
    ("custom_concatenation", lambda: S.price.op("||", return_type=String())(" EUR"), ["2.50 EUR", "0.29 EUR"]),
    ("custom_operator", lambda: S.price.op("+")(1), [D("3.5"), D("1.29")]),
    ("rows", lambda: case((tuple_(S.price, S.quantity) >= tuple_(S.rate, 3), 1), else_=0), [1, 1]),
    ("other_rows", lambda: case((tuple_(S.price, S.length) > tuple_(S.rate, 2 * HOUR), 1), else_=0), [0, 1]),
    ("moment_plus_duration", lambda: S.moment + S.length * 2 > S.moment + 3 * HOUR, [True, False]),
    ("decimal_times_duration", lambda: S.price * HOUR, [2.5 * HOUR, 0.29 * HOUR]),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), [pytest.param(*row[1:], id=row[0]) for row in VALUES])
async def test_an_expression_has_the_same_value_on_both_databases(
    session: AsyncSession, expression: Callable[[], Any], expected: list[Any]
) -> None:
    values = (await session.execute(select(expression()).select_from(S).order_by(S.id))).scalars().all()
    assert all(map(is_close, values, expected)), f"{values} is not {expected}"


AGGREGATES: list[tuple[str, Callable[[], Any], Any]] = [
    ("sum", lambda: func.sum(S.price), D("2.79")),
    ("average", lambda: func.avg(S.price), D("1.395")),
    ("average_distinct", lambda: func.avg(S.price.distinct()), D("1.395")),
    ("minimum", lambda: func.min(S.price), D("0.29")),
    ("sum_of_products", lambda: func.sum(S.price * S.quantity), D("7.79")),
    ("sum_of_fractions", lambda: func.sum(S.price * (1 + S.rate)), D("9.069")),
    ("sum_of_cases", lambda: func.sum(case((S.price > 1, S.price), else_=0)), D("2.5")),
    ("sum_or_zero", lambda: func.coalesce(func.sum(S.price), 0), D("2.79")),
    ("sum_divided", lambda: func.sum(S.price) / func.count(), D("1.395")),
    ("filtered", lambda: func.sum(S.price).filter(S.price > 1), D("2.5")),
    ("count_distinct", lambda: func.count(distinct(S.price)), 2),
    ("difference", lambda: func.max(S.price) - func.min(S.price), D("2.21")),
    ("unbounded_sum_or_zero", lambda: func.sum(func.coalesce(S.free, 0)), D("-1.5")),
    ("unbounded_product", lambda: func.sum(S.free * S.quantity), D("-1.5")),
    ("large_sum", lambda: func.sum(S.large), D("12345678901234568.89")),
    ("large_average", lambda: func.avg(S.large), D("6172839450617284.445")),
    ("large_sum_filtered", lambda: func.sum(S.large).filter(S.quantity == 1), D("1")),
    ("large_sum_of_nothing", lambda: func.sum(S.large).filter(S.quantity == 9), None),
    ("duration_sum", lambda: func.sum(S.length), 3 * HOUR),
    ("duration_sum_halved", lambda: func.sum(S.length) / 2, 1.5 * HOUR),
]


@pytest.mark.parametrize(("expression", "expected"), [pytest.param(*row[1:], id=row[0]) for row in AGGREGATES])
async def test_an_aggregate_has_the_same_value_on_both_databases(
    session: AsyncSession, expression: Callable[[], Any], expected: Any
) -> None:
    value = (await session.execute(select(expression()))).scalar_one()
    assert is_close(value, expected), f"{value!r} is not {expected!r}"


def copied(statement: Any) -> Any:
    return insert(Sale).from_select(["price", "rate", "quantity", "version", "created_at", "updated_at"], statement)


ASSIGNED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("doubled", {"price": S.price * 2}, {"price": D("5.00")}),
    ("rounded_up", {"price": S.price * D("1.19")}, {"price": D("2.98")}),
    ("rounded_away_from_zero", {"price": S.price * D("-1.19") + 5}, {"price": D("2.03")}),
    ("more_places", {"price": D("1.005")}, {"price": D("1.01")}),
    ("divided", {"price": S.price / 3}, {"price": D("0.83")}),
    ("other_scale", {"price": S.rate + D("0.0055"), "rate": S.price}, {"price": D("2.51"), "rate": D("2.5000")}),
    ("integer", {"price": S.quantity}, {"price": D("3.00")}),
    ("coalesced", {"price": func.coalesce(S.free, S.price, 0)}, {"price": D("2.50")}),
    ("literal", {"price": literal(D("1.5"))}, {"price": D("1.50")}),
    ("function", {"price": func.abs(S.price * -1)}, {"price": D("2.50")}),
    ("statement", {"price": select(func.avg(OTHER.price)).scalar_subquery()}, {"price": D("1.40")}),
    ("case", {"price": case((S.quantity > 1, S.price - 1), else_=S.price)}, {"price": D("1.50")}),
    ("unbounded", {"free": S.price * 2}, {"free": D("5")}),
    ("unbounded_itself", {"free": func.coalesce(S.free, 1) + S.large}, {"free": D("12345678901234568.89")}),
    ("large", {"large": S.large + 1}, {"large": D("12345678901234568.89")}),
    ("to_integer", {"whole": S.price}, {"whole": 3}),
    ("to_float", {"ratio": S.price}, {"ratio": 2.5}),
    ("to_text", {"name": cast(S.price, String)}, {"name": "2.50"}),
    ("duration", {"length": S.length * D("1.5")}, {"length": 3 * HOUR}),
    ("duration_added", {"length": S.length + HOUR}, {"length": 3 * HOUR}),
]


@pytest.mark.parametrize(("values", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ASSIGNED])
@pytest.mark.parametrize("by_row", [False, True], ids=["statement", "attribute"])
async def test_an_expression_is_stored_rounded_to_the_places_of_its_column(
    session: AsyncSession, *, by_row: bool, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    if by_row:
        sale = await session.get_one(Sale, 1)
        for name, value in values.items():
            setattr(sale, name, value)
        await session.flush()
        await session.refresh(sale)
    else:
        options = {"synchronize_session": False}
        await session.execute(update(Sale).where(S.id == 1).values(**values), execution_options=options)
        sale = await session.get_one(Sale, 1)
    stored = {name: getattr(sale, name) for name in expected}
    assert stored == expected
    assert all(str(stored[name]) == str(value) for name, value in expected.items())


async def test_groups_subqueries_and_joins_have_the_values_of_their_columns(session: AsyncSession) -> None:
    twice = select(S.id, (S.price * 2).label("price"), S.rate).where(S.price * 2 > 1).subquery()
    assert (await session.execute(select(twice.c.price, twice.c.price + twice.c.rate))).all() == [(5, D("7.5"))]
    grouped = select(S.quantity, func.sum(S.price)).group_by(S.quantity).having(func.sum(S.price) > S.quantity - 1)
    assert (await session.execute(grouped.order_by(func.sum(S.price)))).all() == [(1, D("0.29")), (3, D("2.50"))]
    joined = select(S.price, OTHER.rate).join(OTHER, OTHER.rate == S.price)
    assert (await session.execute(joined)).all() == [(D("2.50"), D("2.5000"))]
    both = union_all(select(S.price), select(cast(S.rate, MoneyColumn))).subquery()
    assert (await session.execute(select(func.sum(both.c.price)))).scalar_one() == D("5.39")


async def test_rows_are_inserted_from_a_statement_in_the_form_of_their_columns(session: AsyncSession) -> None:
    statement = select(S.rate * D("1.005"), S.price, S.price, 1, S.created_at, S.updated_at).where(S.id == 1)
    await session.execute(copied(statement))
    query = select(S.price, S.rate, S.quantity).where(S.id == 3)
    assert (await session.execute(query)).one() == (D("2.51"), D("2.5"), 3)
    await session.execute(copied(select(S.price, S.rate, S.quantity, 1, S.created_at, S.updated_at).where(S.id == 1)))
    assert (await session.scalar(select(S.price).where(S.id == 4))) == D("2.50")
    names = [name for name in S.__table__.columns.keys() if name not in ("id", "price", "rate")]  # noqa: SIM118
    columns = (S.rate, S.price, *(S.__table__.columns[name] for name in names))
    both = union_all(select(*columns).where(S.id == 2), select(*columns).where(S.id == 9))
    await session.execute(insert(Sale).from_select(["price", "rate", *names], both, include_defaults=False))
    assert (await session.execute(select(S.price, S.rate).where(S.id == 5))).one() == (D("0.1"), D("0.29"))


async def test_an_upsert_stores_and_returns_the_values_of_its_expressions(session: AsyncSession) -> None:
    make: Any = {"sqlite": sqlite, "postgresql": postgresql}[session.get_bind().dialect.name].insert
    row = {"id": 1, "version": 1, "created_at": S.created_at, **FIRST, "price": D(9)}
    row |= dict.fromkeys(("created_at", "updated_at"), datetime(2026, 1, 1, tzinfo=UTC))
    statement = make(Sale).values(**row)
    changes = {"price": statement.excluded.price * D("1.005") + S.quantity, "rate": S.price}
    upsert = statement.on_conflict_do_update(index_elements=["id"], set_=changes)
    returned = await session.execute(upsert.returning(S.price, S.rate, S.price * 2))
    assert returned.one() == (D("12.05"), D("2.5"), D("24.10"))


async def test_many_rows_are_inserted_with_expressions(session: AsyncSession) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    common = {"version": 1, "created_at": moment, "updated_at": moment, "rate": literal(D("0.5"))}
    rows = [{**common, "price": literal(D("1.5"))}, {**common, "price": literal(2) * D("1.005")}]
    await session.execute(insert(S.__table__).values(rows))
    found = await session.execute(select(S.price, S.rate).where(S.id > 2).order_by(S.id))
    assert found.all() == [(D("1.50"), D("0.5")), (D("2.01"), D("0.5"))]


async def test_a_compiled_statement_is_used_with_other_values(session: AsyncSession) -> None:
    for value in (D("1.5"), D("7.25"), 3):
        statement = select(func.coalesce(S.free, value), S.price + value).where(S.id == 1)
        assert (await session.execute(statement)).one() == (value, D("2.5") + value)


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("duration_as_text", lambda: select(cast(S.length, String))),
    ("duration_extracted", lambda: select(extract("hour", S.length))),
    ("duration_in_a_function", lambda: select(func.date(S.moment, S.length))),
    ("duration_concatenated", lambda: select(S.name.concat(S.length))),
    ("duration_compared_with_moments", lambda: select(S.length > func.now())),
    ("union", lambda: union_all(select(S.price), select(S.rate))),
]


@pytest.mark.parametrize("statement", [pytest.param(row[1], id=row[0]) for row in REFUSED])
def test_what_sqlite_cannot_calculate_is_refused_when_it_is_compiled(statement: Callable[[], Any]) -> None:
    with pytest.raises(CompileError, match="SQLite stores"):
        statement().compile(dialect=sqlite.dialect())


async def test_a_value_is_rounded_when_it_is_set_as_it_is_stored(session: AsyncSession) -> None:
    sale: Any = await session.get_one(Sale, 1)
    sale.price, sale.free, sale.rate = D(10) / 3, D("1.50"), 2
    assert [str(value) for value in (sale.price, sale.free, sale.rate)] == ["3.33", "1.5", "2.0000"]
    sale.price = D("2.675")
    assert (str(sale.price), str(Sale(**FIRST | {"price": D("-0.125")}).price)) == ("2.68", "-0.13")
    sale.price = D("Infinity")
    assert sale.price == D("Infinity")
    await session.refresh(sale)
    assert str(sale.price) == "2.50"


async def test_a_loaded_row_has_what_an_update_stored(session: AsyncSession) -> None:
    sale = await session.get_one(Sale, 1)
    await session.execute(update(Sale).where(S.price > 1).values(price=S.price * D("1.005"), free=None))
    assert (str(sale.price), sale.free) == ("2.51", None)
    await session.refresh(sale)
    assert str(sale.price) == "2.51"


class Limited(Shop, table=True):
    __table_args__ = (
        CheckConstraint(column("price") < 100, name="cheap"),
        CheckConstraint(column("price") * column("quantity") <= D("0.3") * column("rate") * 10, name="total"),
        CheckConstraint("price >= 0 AND cost <= price OR (length IS NOT NULL AND note <> 'price < 5')", name="text"),
        CheckConstraint(column("length") < HOUR, name="length"),
        CheckConstraint(column("quantity") < 1000, name="quantity"),
        Index("ix_limited_priced", "quantity", sqlite_where=text("price > 0"), postgresql_where=text("price > 0")),
    )
    price: Money
    cost: Money = D("0.01")
    rate: Decimal = Field(default=D(100), max_digits=8, decimal_places=4)
    quantity: int = 1
    length: timedelta = HOUR / 2
    note: str = ""
    size: int | None = Field(default=None, sa_column_args=[Computed("length(note)")])


@pytest.mark.parametrize(
    ("values", "is_allowed"),
    [
        ({"price": D("99.99")}, True),
        ({"price": D(100)}, False),
        ({"price": D("0.1"), "quantity": 3, "rate": D("0.1")}, True),
        ({"price": D("0.1"), "quantity": 4, "rate": D("0.1")}, False),
        ({"price": D("1"), "length": HOUR}, False),
    ],
)
async def test_a_check_compares_the_values(session: AsyncSession, *, values: dict[str, Any], is_allowed: bool) -> None:
    session.add(Limited(**values))
    with nullcontext() if is_allowed else pytest.raises(IntegrityError):
        await session.flush()
    await session.rollback()


@pytest.mark.parametrize(
    ("arguments", "computed"),
    [
        (CheckConstraint("price < 100"), None),
        (CheckConstraint("quantity > 0 AND price + 1 > 0"), None),
        (CheckConstraint("price >= 0.5"), None),
        (CheckConstraint('"price" >= rate'), None),
        (CheckConstraint("free >= 0"), None),
        (CheckConstraint("length > 0"), None),
        (Index("ix_refused", "quantity", sqlite_where=text("price < 5")), None),
        (Index("ix_refused", text("price * 2")), None),
        (None, Computed("price * quantity")),
        (None, Computed("quantity * 2")),
    ],
)
def test_a_text_about_decimals_is_refused_when_its_table_is_defined(arguments: Any, computed: Any) -> None:
    class Base(Entity, registry=registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))):
        """Base class of one table."""

    with pytest.raises(TypeError, match=r"SQLite stores (price|free|length|total) in units of its last place: "):

        class Refused(Base, table=True):
            __table_args__ = () if arguments is None else (arguments,)
            price: Money
            rate: Decimal = Field(default=D(1), max_digits=8, decimal_places=4)
            free: Decimal = D(0)
            quantity: int = 1
            length: timedelta = HOUR
            total: Money | None = Field(default=None, sa_column_args=[] if computed is None else [computed])


def test_a_decimal_with_more_digits_than_its_form_is_an_error() -> None:
    with pytest.raises(OverflowError, match="more than 18 digits before the point"):
        decimal_of("mul", "20.2", "199999999999999999999", "20.2", 10, "0.0")
    with pytest.raises(OverflowError, match="too many digits"):
        decimal_of("stored", "0.2", 2**62, "0.0")
    assert decimals_of(int) == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(D("1.005"), D("1.01")), (1.005, D("1.01")), (2, D("2.00")), ("1.25", D("1.25"))],
)
@pytest.mark.parametrize("name", ["price", "large"])
async def test_a_number_is_rounded_to_the_places_of_its_column(
    session: AsyncSession, name: str, value: Any, expected: Decimal
) -> None:
    await session.execute(update(Sale).values({name: value}).execution_options(synchronize_session=False))
    assert set(await session.scalars(select(getattr(S, name)))) == {expected}


TOO_LARGE = [("price", D("1e8")), ("price", D("99999999.995")), ("rate", -1e4), ("large", D("1e18")), ("large", 1e30)]


@pytest.mark.parametrize(
    ("name", "value"),
    [*TOO_LARGE, *((name, value) for name in ("price", "large") for value in (D("NaN"), float("inf"), "x"))],
)
async def test_a_value_that_is_no_number_of_its_column_is_refused(session: AsyncSession, name: str, value: Any) -> None:
    with pytest.raises(FAILURES) as caught:
        await session.execute(update(Sale).values({name: value}).execution_options(synchronize_session=False))
    assert meaning_of(caught.value) == "unbounded"
