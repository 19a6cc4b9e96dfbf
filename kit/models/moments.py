"""Columns of dates and times, and calculations with them in SQL, with the same results on SQLite as on PostgreSQL.

SQLite stores moments, dates and times as texts, and durations in microseconds (`DurationColumn`), so its `+` and `-`
would take the numbers at the beginning of the texts. The types here have comparators that make a `Sum` or `Difference`
of such operands, for which the dialect `sqlite` has its own SQL. What it cannot calculate is a CompileError.

| operands | result |
|---|---|
| moment ± duration, duration + moment | a moment |
| moment - moment, moment - date | a duration |
| date ± integer, date ± whole days (`timedelta(days=7)`) | a date |
| date - date | an integer, the number of days |
| date ± another duration | a moment without a time zone |
| time ± duration | a time, within the same day |
| time - time | a duration |
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Date, DateTime, Integer, Interval, Time, cast, literal
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, Cast, ClauseElement, Extract
from sqlalchemy.sql.functions import FunctionElement, GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.models.columns import DurationColumn

DAY = timedelta(days=1)
ARITHMETIC = (operators.add, operators.sub)
COMPARISONS = frozenset({operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge})


class Calculating(TypeEngine.Comparator[Any]):
    """The operators of dates and times."""

    def operate(self, op: Any, *other: Any, **options: Any) -> Any:
        made = super().operate(op, *other, **options)
        if op in ARITHMETIC:
            return calculation(op, self.expr, other[0], made.type)
        mixed = compared(op, self.expr, other[0]) if op in COMPARISONS else None
        return made if mixed is None else mixed

    def reverse_operate(self, op: Any, other: Any, **options: Any) -> Any:
        made = super().reverse_operate(op, other, **options)
        return calculation(op, other, self.expr, made.type) if op in ARITHMETIC else made


class Span(DurationColumn):
    """The type of a `timedelta` before a date or time, as in `timedelta(days=1) + Invoice.day`."""

    cache_ok = True

    class comparator_factory(Calculating, TypeDecorator.Comparator[Any]):  # noqa: N801  SQLAlchemy's name
        """The operators of durations before dates and times."""


class Days(Integer):
    """The type of an integer before a date, as in `1 + Invoice.day`."""

    class comparator_factory(Calculating, Integer.Comparator[Any]):  # noqa: N801  SQLAlchemy's name
        """The operators of numbers before dates."""


class MomentColumn(UTCDateTime):
    """Moments in UTC: TIMESTAMP WITH TIME ZONE on PostgreSQL, text on SQLite."""

    cache_ok = True

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return Span() if isinstance(value, timedelta) else super().coerce_compared_value(op, value)

    class comparator_factory(Calculating, TypeDecorator.Comparator[Any], DateTime.Comparator[Any]):  # noqa: N801  SQLAlchemy's name
        """The operators of moments."""


class DateColumn(Date):
    """Dates."""

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of the other operand of a date."""
        if isinstance(value, timedelta):
            return Span()
        return Days() if isinstance(value, int) else super().coerce_compared_value(op, value)

    class comparator_factory(Calculating, Date.Comparator[Any]):  # noqa: N801  SQLAlchemy's name
        """The operators of dates."""


class TimeColumn(Time):
    """Times of a day."""

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of the other operand of a time."""
        return Span() if isinstance(value, timedelta) else super().coerce_compared_value(op, value)

    class comparator_factory(Calculating, Time.Comparator[Any]):  # noqa: N801  SQLAlchemy's name
        """The operators of times."""


class Calculation(FunctionElement[Any]):
    """A calculation with two operands."""

    inherit_cache = True
    sign = ""

    def __init__(self, left: Any, right: Any, kind: TypeEngine[Any]) -> None:
        super().__init__(left, right)
        self.type = kind


class Sum(Calculation):
    """The sum of a date or time and a duration."""

    inherit_cache = True
    name = "sum_of_moment"
    sign = "+"


class Difference(Calculation):
    """The difference of dates or times, or of one and a duration."""

    inherit_cache = True
    name = "difference_of_moments"
    sign = "-"


class Midnight(FunctionElement[datetime]):
    """The first moment of a date, for comparisons with moments."""

    inherit_cache = True
    name = "midnight"
    type = MomentColumn()


KINDS: Mapping[type, str] = {
    DurationColumn: "duration", Interval: "duration", UTCDateTime: "moment", DateTime: "moment", Date: "date",
    Time: "time", Integer: "days",
}  # fmt: skip
RESULTS: Mapping[tuple[str | None, str, str | None], TypeEngine[Any]] = {
    ("moment", "+", "duration"): MomentColumn(), ("duration", "+", "moment"): MomentColumn(),
    ("moment", "-", "duration"): MomentColumn(), ("moment", "-", "moment"): DurationColumn(),
    ("moment", "-", "date"): DurationColumn(), ("date", "-", "moment"): DurationColumn(),
    ("date", "+", "days"): DateColumn(), ("days", "+", "date"): DateColumn(), ("date", "-", "days"): DateColumn(),
    ("date", "-", "date"): Integer(),
    ("date", "+", "duration"): DateTime(), ("duration", "+", "date"): DateTime(), ("date", "-", "duration"): DateTime(),
    ("time", "+", "duration"): TimeColumn(), ("duration", "+", "time"): TimeColumn(),
    ("time", "-", "duration"): TimeColumn(), ("time", "-", "time"): DurationColumn(),
}  # fmt: skip
"""By the kinds of the operands: the type of the result. SQLite can calculate no other."""


def kind_of(element: Any) -> str | None:
    return next((kind for base, kind in KINDS.items() if isinstance(getattr(element, "type", None), base)), None)


def element_of(value: Any) -> Any:
    """Return the SQL expression of an attribute of an entity; all other values unchanged."""
    return value.__clause_element__() if hasattr(value, "__clause_element__") else value


def calculation(op: Any, left: Any, right: Any, other: TypeEngine[Any]) -> Calculation:
    """Return a sum or difference. `other` is its type if the operands have kinds that are not in `RESULTS`."""
    make: type[Calculation] = Sum if op is operators.add else Difference
    left, right = element_of(left), element_of(right)
    first, second = operand(left, right), operand(right, left)
    return make(first, second, RESULTS.get((kind_of(first), make.sign, kind_of(second)), other))


def operand(value: Any, other: Any) -> Any:
    """Return an operand with the type that SQLite can calculate with. With a date, whole days are an integer."""
    if isinstance(value, BindParameter) and isinstance(value.value, timedelta | datetime):
        value = value.value
    is_with_date = kind_of(other) == "date"
    if isinstance(value, timedelta):
        is_days = is_with_date and not value % DAY
        return literal(value // DAY, Integer()) if is_days else literal(value, DurationColumn())
    if isinstance(value, datetime):
        return literal(value, MomentColumn() if value.tzinfo else DateTime())
    if is_with_date and kind_of(value) == "days" and not isinstance(value, BindParameter):
        return cast(value, Integer())  # PostgreSQL adds no BIGINT
    return value if isinstance(value, ClauseElement) else literal(value)


def compared(op: Any, left: ColumnElement[Any], right: Any) -> Any:
    """Return the comparison of a date with a moment; None for another one. A date is compared as its first moment."""
    right = element_of(right)
    if kind_of(left) == "moment" and isinstance(right, date) and not isinstance(right, datetime):
        return op(left, datetime.combine(right, time(), UTC))
    if kind_of(left) == "moment" and isinstance(right, ColumnElement) and kind_of(right) == "date":
        return op(left, Midnight(right))
    is_moment = isinstance(right, datetime) or (isinstance(right, ColumnElement) and kind_of(right) == "moment")
    return op(Midnight(left), right) if kind_of(left) == "date" and is_moment else None


@compiles(Calculation)
def _with_operator(element: Calculation, compiler: SQLCompiler, **options: Any) -> str:
    left, right = (compiler.process(side, **options) for side in element.clauses)
    return f"({left} {element.sign} {right})"


@compiles(Calculation, "sqlite")
def _on_sqlite(element: Calculation, compiler: SQLCompiler, **options: Any) -> str:
    sides, sign = list(element.clauses), element.sign
    kinds = [kind_of(side) for side in sides]
    if (kinds[0], sign, kinds[1]) not in RESULTS or any(is_interval(side) for side in sides):
        raise CompileError(
            f"SQLite cannot calculate {element.clauses}: calculate with columns and values of datetime, date, time and "
            "timedelta alone, or in Python, and pass the moment to the statement."
        )
    texts = [compiler.process(side, **options) for side in sides]
    if kinds == ["date", "date"]:
        return f"CAST(julianday({texts[0]}) - julianday({texts[1]}) AS INTEGER)"
    if "days" in kinds:
        (day, number) = texts if kinds[0] == "date" else reversed(texts)
        return f"date({day}, ({sign}1 * ({number})) || ' days')"
    left, right = (in_microseconds(text, kind) for text, kind in zip(texts, kinds, strict=True))
    number = f"{left} {sign} {right}"
    if isinstance(element.type, DurationColumn):
        return f"({number})"
    moment = FROM_MICROSECONDS.format(number)
    return f"substr({moment}, 12)" if "time" in kinds else moment


def is_interval(element: Any) -> bool:
    """Return whether an expression has SQLAlchemy's type of durations, which SQLite stores as a moment."""
    return isinstance(element.type, Interval)


def in_microseconds(sql: str, kind: str | None) -> str:
    """Return the microseconds of a duration, or of a moment, date or time since a fixed moment, as SQL of SQLite."""
    if kind == "duration":
        return f"({sql})"
    text = f"('1970-01-01 ' || {sql})" if kind == "time" else sql
    seconds = f"CAST(strftime('%s', substr({text}, 1, 19)) AS INTEGER)"
    return f"({seconds} * 1000000 + CAST(substr({text}, 21, 6) AS INTEGER))"


FROM_MICROSECONDS = (
    "(SELECT strftime('%Y-%m-%d %H:%M:%S', (n - m) / 1000000, 'unixepoch') || printf('.%06d', m) "
    "FROM (SELECT n, ((n % 1000000) + 1000000) % 1000000 AS m FROM (SELECT {} AS n)))"
)
"""The moment for a number of microseconds since 1970, as SQL of SQLite."""


@compiles(Midnight)
def _day(element: Midnight, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(Midnight, "sqlite")
def _first_moment(element: Midnight, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} || ' 00:00:00.000000')"


def cast_of_moment(element: Cast[Any], compiler: SQLCompiler, **options: Any) -> str:
    """Compile a cast between moments, dates and times. SQLite's own would take the number at the beginning."""
    source, target = kind_of(element.clause), kind_of(element)
    if target not in ("moment", "date", "time"):
        return str(compiler.visit_cast(element, **options))  # type: ignore[no-untyped-call]
    text = compiler.process(element.clause, **options)
    if source == target:
        return text
    if source == "moment":
        return f"date({text})" if target == "date" else f"substr({text}, 12)"
    if source == "date" and target == "moment":
        return f"({text} || ' 00:00:00.000000')"
    raise CompileError(
        f"SQLite cannot cast {element.clause} to {element.type!r}: convert the value in Python, and pass it to the "
        "statement."
    )


def part_of_moment(element: Extract, compiler: SQLCompiler, **options: Any) -> str:
    """Compile EXTRACT. SQLite counts other weeks than PostgreSQL, and has whole seconds."""
    if element.field in ("week", "second", "seconds", "microseconds", "milliseconds"):
        raise CompileError(f"SQLite extracts no {element.field} as PostgreSQL does: compute it in Python.")
    return str(compiler.visit_extract(element, **options))  # type: ignore[no-untyped-call]


class day_of(GenericFunction[date]):  # noqa: N801  the name of a function
    """The function `func.date`: the date of a moment, in UTC on SQLite."""

    type = DateColumn()
    inherit_cache = True
    name = "date"
    identifier = "date"


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that these replace the functions of SQLAlchemy

    class Now(GenericFunction[datetime]):
        """The function `func.now`, with the type of the columns of moments."""

        type = MomentColumn()
        inherit_cache = True
        name = "now"
        identifier = "now"

    class CurrentTimestamp(GenericFunction[datetime]):
        """The same for `func.current_timestamp`."""

        type = MomentColumn()
        inherit_cache = True
        name = "current_timestamp"
        identifier = "current_timestamp"

    class CurrentDate(GenericFunction[date]):
        """The same for `func.current_date`."""

        type = DateColumn()
        inherit_cache = True
        name = "current_date"
        identifier = "current_date"


@compiles(CurrentTimestamp)
def _current_timestamp(*_: Any, **__: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(CurrentDate)
def _current_date(*_: Any, **__: Any) -> str:
    return "CURRENT_DATE"
