"""CHECK constraints: derived from the bounds of fields and the values of enums, the same on both databases."""

import operator
from collections.abc import Iterator, Mapping
from datetime import time
from decimal import Decimal
from typing import Any

from pydantic.fields import FieldInfo
from sqlalchemy import CheckConstraint, Column, ColumnElement, Table, and_, func, literal_column
from sqlalchemy.sql.functions import Function

from kit.models.annotations import has_explicit_type
from kit.models.columns import DecimalColumn
from kit.models.json_values import MAX_INTEGER, MIN_INTEGER
from kit.models.kinds import Shape, shape_of_field


def add_check(table: Table, column: Column[Any], field: FieldInfo) -> None:
    """Add a CHECK for the bounds of a field or the values of its enum, unless there is one with its name."""
    known = {str(part.name) for part in table.constraints if isinstance(part, CheckConstraint)}
    conditions = [] if has_explicit_type(field) else list(conditions_of(shape_of_field(field), column))
    if conditions and known.isdisjoint({column.name, f"ck_{table.name}_{column.name}"}):
        table.append_constraint(CheckConstraint(and_(*conditions), name=column.name))


def conditions_of(shape: Shape, column: Column[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield the SQL conditions for the bounds or members of a type, as far as both databases can check them."""
    kind, bounds = shape.kind, shape.bounds
    if kind in ("member", "integer member"):
        yield column.in_([literal_column(quoted(value)) for value in shape.members])
    elif kind in ("text", "email", "url", "bytes"):
        yield from between(func.length(column), {"ge": bounds.get("min_length"), "le": bounds.get("max_length")})
    elif kind in ("integer", "number", "date", "time"):
        yield from between(column, bounds)
        if kind == "integer" and "multiple_of" in bounds:
            yield column % literal_column(quoted(bounds["multiple_of"])) == literal_column("0")
    elif kind == "decimal" and isinstance(column.type, DecimalColumn) and column.type.is_number:
        yield from between(column, {name: bound for name, bound in bounds.items() if bound == 0})


def between(value: Any, bounds: Mapping[str, Any]) -> Iterator[ColumnElement[bool]]:
    """Yield the SQL conditions for the bounds of a value, except those that its column type implies."""
    limits = {name: bounds.get(name) for name in ("ge", "gt", "le", "lt")}
    low, above, high, below = (None if bound in (MIN_INTEGER, MAX_INTEGER) else bound for bound in limits.values())
    low = None if low == 0 and isinstance(value, Function) else low
    if low is not None and high is not None:
        yield value.between(literal_column(quoted(low)), literal_column(quoted(high)))
        low = high = None
    comparisons = ((low, operator.ge), (above, operator.gt), (high, operator.le), (below, operator.lt))
    for bound, compare in comparisons:
        if bound is not None:
            yield compare(value, literal_column(quoted(bound)))


def quoted(value: Any) -> str:
    """Return a value as an SQL literal."""
    if isinstance(value, int | float | Decimal):
        return str(value)
    text = value.isoformat(timespec="microseconds") if isinstance(value, time) else str(value)
    return "'" + text.replace("'", "''") + "'"
