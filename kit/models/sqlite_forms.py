"""The forms in which SQLite has decimals and durations, and conversions of SQL expressions between them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Float, Integer, Interval, Null, String, type_coerce
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter, ColumnClause, ColumnElement, Grouping, UnaryExpression
from sqlalchemy.types import NullType, TypeEngine

from kit.models.columns import CalculatedDecimal, DecimalColumn, DurationColumn
from kit.models.decimal_forms import Form, encode

ENCODED = (DecimalColumn, DurationColumn)
"""The types whose values SQLite stores in another form than PostgreSQL."""
PLAIN: TypeEngine[Any] = Float()
"""The type of plain numbers."""


class Converted(ColumnElement[Any]):
    """An expression in the form of another type. It exists only while a statement is compiled."""

    __visit_name__ = "converted"
    inherit_cache = False

    def __init__(self, element: Any, kind: TypeEngine[Any], operation: str = "value") -> None:
        """Set the type `kind`. `operation` is one of `decimal_of`: `stored` rounds, `compared` allows all numbers."""
        self.element, self.type, self.operation = element, kind, operation

    @property
    def _from_objects(self) -> list[Any]:
        return list(self.element._from_objects)


def form_of(kind: Any) -> Form:
    return kind.form if isinstance(kind, DecimalColumn) else Form()


def type_of(element: Any) -> Any:
    return getattr(element, "type", None)


def is_encoded(*elements: Any) -> bool:
    return any(isinstance(type_of(element), ENCODED) for element in elements)


def has_duration(*elements: Any) -> bool:
    return any(isinstance(type_of(element), DurationColumn) for element in elements)


def bare(element: Any) -> Any:
    """Return an expression without parentheses."""
    while isinstance(element, Grouping):
        element = element.element
    return element


def calculated(kinds: Iterable[Any]) -> TypeEngine[Any]:
    """Return the common type of several types: in its form, their values can be compared and added."""
    decimals = [kind for kind in kinds if isinstance(kind, DecimalColumn)]
    if not decimals:
        return PLAIN
    whole, places = max(kind.whole for kind in decimals), max(kind.places for kind in decimals)
    if all(kind.is_number for kind in decimals):
        return CalculatedDecimal(18 - places, places)
    return CalculatedDecimal(whole, places)


def converted(element: Any, kind: TypeEngine[Any], operation: str = "value") -> Any:
    """Return an expression converted to the form of a type. An expression that has this form is returned unchanged."""
    if isinstance(bare(element), Null):
        return element
    if isinstance(element, UnaryExpression) and element.operator is operators.distinct_op:
        inner = converted(element.element, kind, operation)
        return element if inner is element.element else inner.distinct()
    if isinstance(kind, DurationColumn) or has_duration(element):
        return as_duration(element, kind)
    is_same = form_of(element.type) == form_of(kind)
    if is_same and operation != "stored":
        return element
    parameter = bare(element)
    if isinstance(parameter, BindParameter) and isinstance(kind, DecimalColumn) and not is_stored(parameter.type):
        return type_coerce(parameter, CalculatedDecimal(kind.whole, kind.places) if operation != "stored" else kind)
    return Converted(element, kind, operation)


def is_stored(kind: Any) -> bool:
    return isinstance(kind, DecimalColumn) and not isinstance(kind, CalculatedDecimal)


def as_duration(element: Any, kind: Any) -> Any:
    """Return an expression as a duration. Raises a CompileError if it is none, or if a duration is to be a number."""
    if isinstance(kind, DurationColumn) and has_duration(element):
        return element
    parameter = bare(element)
    is_value = isinstance(parameter, BindParameter) and isinstance(parameter.type, Interval | NullType)
    if isinstance(kind, DurationColumn) and is_value:
        return type_coerce(parameter, kind)
    raise CompileError(
        "SQLite stores durations in microseconds, and cannot convert them to or from another type: "
        "calculate with timedelta columns and timedelta values alone, or convert the loaded values in Python."
    )


def digits_of_literal(element: Any) -> Decimal | None:
    """Return the number that `literal_column` contains; None for all other expressions."""
    if not (isinstance(element, ColumnClause) and element.is_literal):
        return None
    try:
        return Decimal(element.name)
    except InvalidOperation:
        return None


@compiles(Converted, "sqlite")
def compile_converted(element: Converted, compiler: Any, **kw: Any) -> str:
    source, target = element.element, element.type
    if isinstance(target, DurationColumn):
        return f"CAST(round({compiler.process(source, **kw)}) AS INTEGER)"
    before, after = form_of(source.type), form_of(target)
    literal = digits_of_literal(bare(source))
    if literal is not None and element.operation != "stored":
        value = encode(literal, after)
        return f"'{value}'" if isinstance(value, str) else str(value)
    if element.operation == "stored" or before.digits or after.digits or not is_exact(source.type, before, after):
        return call(compiler, element.operation, target, [source], kw)
    return shifted(compiler.process(source, **kw), after.places - before.places)


def is_exact(kind: Any, before: Form, after: Form) -> bool:
    """Return whether a factor converts numbers exactly: integers, or decimals in units of their last place."""
    return isinstance(kind, DecimalColumn | Integer) or after.places <= before.places


def shifted(sql: str, places: int) -> str:
    """Return an SQL expression times a power of 10."""
    if places == 0:
        return sql
    return f"(({sql}) * {10**places})" if places > 0 else f"(({sql}) / {10**-places}.0)"


def call(compiler: Any, operation: str, kind: Any, elements: Sequence[Any], kw: dict[str, Any]) -> str:
    """Return a call of `decimal_of` with expressions of any form, and the result in the form of a type."""
    values = [f"{compiler.process(element, **kw)}, '{form_of(type_of(element))}'" for element in elements]
    return f"decimal_of('{operation}', '{form_of(kind)}', {', '.join(values)})"


class Shown(ColumnElement[str]):
    """The text of a decimal. It exists only while a statement is compiled."""

    __visit_name__ = "shown"
    inherit_cache = False

    def __init__(self, element: Any) -> None:
        self.element, self.type = element, String()


def as_text(element: Any) -> Any:
    """Return a decimal as text, and all other expressions unchanged."""
    if has_duration(element):
        as_duration(element, PLAIN)
    return Shown(element) if is_encoded(element) else element


@compiles(Shown, "sqlite")
def compile_shown(element: Shown, compiler: Any, **kw: Any) -> str:
    kind = element.element.type
    sql, form = compiler.process(element.element, **kw), form_of(kind)
    return f"decimal_of('text', '0.{kind.places if kind.is_fixed else 0}', {sql}, '{form}')"
