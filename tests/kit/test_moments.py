"""Calculations with dates and times in SQL: the same results on both databases, or a refusal with what to write."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData, cast, extract, func, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import CompileError
from sqlalchemy.orm import registry
from sqlmodel import SQLModel, col, select, update

from kit import Database, Entity
from tests.engines import url_for

pytestmark = pytest.mark.no_fast_path

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))
MOMENT = datetime(2026, 1, 31, 12, 0, 0, 999999, tzinfo=UTC)
EARLY = datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)
DAY, CLOCK, SPAN = date(2026, 1, 31), time(10, 0, 0, 5), timedelta(days=1, microseconds=1)


class MomentEntity(Entity, registry=REGISTRY):
    """The base class of the table, in a separate registry."""


class Visit(MomentEntity, table=True):
    """A row with dates and times."""

    __tablename__ = "moments_visit"
    at: datetime = MOMENT
    early: datetime = EARLY
    day: date = DAY
    clock: time = CLOCK
    span: timedelta = SPAN
    number: int = 3
    absent: datetime | None = None


at_, early_, on_, clock_, span_ = (col(getattr(Visit, name)) for name in ("at", "early", "day", "clock", "span"))
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
async def database(new_database: Any) -> AsyncIterator[Database]:
    database = Database(url_for(await new_database()))
    async with database.writer.begin() as connection:
        await connection.run_sync(REGISTRY.metadata.create_all)
    async with database.write() as session:
        session.add(Visit())
        await session.commit()
    yield database
    await database.dispose()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (at_ + SPAN, MOMENT + SPAN),
        (at_ - SPAN, MOMENT - SPAN),
        (timedelta(days=1) + at_, MOMENT + timedelta(days=1)),
        (at_ + literal(SPAN), MOMENT + SPAN),
        (at_ + span_, MOMENT + SPAN),
        (at_ + span_ + span_, MOMENT + 2 * SPAN),
        (early_ - timedelta(microseconds=2), EARLY - timedelta(microseconds=2)),
        (at_ - early_, MOMENT - EARLY),
        (early_ - at_, EARLY - MOMENT),
        (MOMENT - early_, MOMENT - EARLY),
        (at_ - col(Visit.absent), None),
        (col(Visit.absent) + SPAN, None),
        (func.max(at_) - func.min(early_), MOMENT - EARLY),
        (func.sum(at_ - early_) > SPAN, True),
        (func.coalesce(col(Visit.absent), at_) + SPAN, MOMENT + SPAN),
        ((func.now() - at_) > timedelta(0), True),
        ((func.current_timestamp() - timedelta(days=1)) < func.now(), True),
        (func.now() - timedelta(days=7) >= at_, True),
        (func.now() - timedelta(days=7) >= on_, True),
        (on_ + 1, date(2026, 2, 1)),
        (on_ - 31, date(2025, 12, 31)),
        (1 + on_, date(2026, 2, 1)),
        (on_ + col(Visit.number), date(2026, 2, 3)),
        (on_ + timedelta(days=1), date(2026, 2, 1)),
        (on_ - timedelta(days=1), date(2026, 1, 30)),
        (on_ + timedelta(hours=12), datetime.fromisoformat("2026-01-31T12:00")),
        (on_ - span_, datetime.fromisoformat("2026-01-29T23:59:59.999999")),
        (on_ - date(2025, 12, 31), 31),
        (date(2026, 2, 1) - on_, 1),
        (func.current_date() - on_ > 0, True),
        (clock_ + timedelta(hours=15), time(1, 0, 0, 5)),
        (clock_ - timedelta(hours=11), time(23, 0, 0, 5)),
        (clock_ - time(9), timedelta(hours=1, microseconds=5)),
        (at_ > on_, True),
        (on_ > at_, False),
        (on_ == literal(MIDNIGHT), True),
        (on_ == MIDNIGHT, True),
        (at_ > DAY, True),
        (at_ < DAY, False),
        (on_ == DAY, True),
        (on_.between(DAY, DAY), True),
        (cast(at_, sa.Date), DAY),
        (cast(at_, sa.Date) == DAY, True),
        (cast(at_, sa.Time), MOMENT.time()),
        (cast(on_, sa.DateTime(timezone=True)) == MIDNIGHT, True),
        (cast(on_, sa.Date), DAY),
        (cast(col(Visit.number), sa.String), "3"),
        (func.date(at_), DAY),
        (func.date(at_) == DAY, True),
        (extract("year", at_), 2026),
        (extract("day", on_), 31),
    ],
)
async def test_both_databases_calculate_the_same(database: Database, expression: Any, expected: Any) -> None:
    async with database.read() as session:
        assert (await session.exec(sa.select(expression))).scalars().one() == expected  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("at", at_ + SPAN, MOMENT + SPAN),
        ("at", at_ - span_, MOMENT - SPAN),
        ("span", at_ - early_, MOMENT - EARLY),
        ("day", on_ + timedelta(days=1), date(2026, 2, 1)),
        ("day", cast(at_, sa.Date), DAY),
        ("day", func.date(at_ + timedelta(days=1)), date(2026, 2, 1)),
        ("clock", clock_ + timedelta(hours=1), time(11, 0, 0, 5)),
        ("number", on_ - date(2025, 12, 31), 31),
    ],
)
async def test_a_calculated_value_is_stored_in_the_form_of_its_column(
    database: Database, column: str, value: Any, expected: Any
) -> None:
    async with database.write() as session:
        await session.exec(update(Visit).values({column: value}))
        field = col(getattr(Visit, column))
        assert (await session.exec(select(field).where(field == expected))).one() == expected


UNKNOWN: list[Callable[[], Any]] = [
    lambda: at_ + 5,
    lambda: at_ + sa.column("x", sa.Interval),
    lambda: at_ - sa.text("x"),
    lambda: on_ + on_,
    lambda: cast(literal("2026-01-31"), sa.Date),
    lambda: cast(on_, sa.Time),
    lambda: extract("week", at_),
    lambda: extract("second", at_),
]


@pytest.mark.parametrize("make", UNKNOWN)
def test_what_sqlite_cannot_calculate_is_refused_when_it_is_compiled(make: Callable[[], Any]) -> None:
    with pytest.raises(CompileError, match=r"SQLite .* in Python"):
        str(sa.select(make()).compile(dialect=sqlite.dialect()))


def test_other_operators_of_moments_are_those_of_sqlalchemy() -> None:
    assert str(at_.is_(None)) == "moments_visit.at IS NULL"
    assert str(on_.desc()) == "moments_visit.day DESC"
    assert str(SPAN + Visit.__table__.c.at) == "(:param_1 + moments_visit.at)"  # type: ignore[attr-defined]


def test_a_day_that_is_compared_with_a_moment_stays_a_day_elsewhere_than_on_sqlite() -> None:
    condition = str((on_ < at_).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    assert condition == "moments_visit.day < moments_visit.at"


def test_the_time_of_day_of_the_database_is_written_in_the_form_of_columns_on_sqlite() -> None:
    assert "strftime('%H:%M:" in str(select(func.current_time()).compile(dialect=sqlite.dialect()))
