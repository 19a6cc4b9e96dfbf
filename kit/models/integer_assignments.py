"""Assignments of integers on SQLite: what an expression of SQL stores in a column of integers is an integer.

SQLite would store a fraction, a text, or a float in place of an integer with more than 64 bits. As on PostgreSQL, a
fraction is rounded, and another value is an error. Values of Python are rounded by `kit.database.integer_values`.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from math import isfinite
from typing import Any

from sqlalchemy import BigInteger, BindParameter, Boolean, Float, Integer, SmallInteger, inspect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnClause, ColumnElement
from sqlalchemy.sql.sqltypes import NullType
from sqlalchemy.types import TypeEngine

WHOLE = (Integer, Boolean)
TOO_LARGE = "abs(-9223372036854775808)"
"""An expression that SQLite refuses with the error `integer overflow`."""


def round_integers(row: Any, names: Iterable[str]) -> None:
    """Round the values that SQLAlchemy calculates in Python for a row that an UPDATE changed, half away from 0."""
    entity: Any = type(row)
    for name in integers_of(entity).intersection(names):
        value = row.__dict__.get(name)
        row.__dict__[name] = whole(Decimal(str(value)) if isinstance(value, float) else value)


def whole(value: Any) -> Any:
    """Return the integer that is stored for a number with a fraction; other values unchanged.

    As on PostgreSQL, a decimal is rounded half away from 0, and a float half to even.
    """
    if not isinstance(value, float | Decimal) or not isfinite(value):
        return value
    return round(value) if isinstance(value, float) else int(value.to_integral_value(ROUND_HALF_UP))


@cache
def integers_of(entity: Any) -> frozenset[str]:
    """Return the names of the attributes of an entity that are columns of integers."""
    mapper: Any = inspect(entity, raiseerr=False)
    attributes = () if mapper is None else mapper.column_attrs
    return frozenset(attribute.key for attribute in attributes if isinstance(attribute.columns[0].type, Integer))


class StoredInteger(ColumnElement[Any]):
    """An expression as a column of integers or booleans stores it. It exists only while a statement is compiled."""

    __visit_name__ = "stored_integer"
    inherit_cache = False

    def __init__(self, element: ColumnElement[Any], kind: TypeEngine[Any]) -> None:
        self.element, self.type = element, kind

    @property
    def _from_objects(self) -> list[Any]:
        return list(self.element._from_objects)


def stored_integer(kind: Any, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an expression as a column of the type `kind` stores it; the expression itself, if it needs no conversion.

    It needs one if the column is of integers or booleans, and the expression may have other values than those.
    """
    if not isinstance(kind, WHOLE) or isinstance(value.type, Boolean):
        return value
    is_given = isinstance(value, BindParameter | ColumnClause) and not getattr(value, "is_literal", False)
    is_whole = isinstance(value.type, Integer | NullType) and bits_of(value.type) <= bits_of(kind)
    return value if is_given and is_whole else StoredInteger(value, kind)


def bits_of(kind: Any) -> int:
    """Return the number of bits of an integer type of PostgreSQL, without that of the sign; 0 for a boolean."""
    sizes = ((BigInteger, 63), (SmallInteger, 15), (Integer, 31))
    return next((bits for each, bits in sizes if isinstance(kind, each)), 0)


@compiles(StoredInteger, "sqlite")
def compile_stored_integer(element: StoredInteger, compiler: Any, **kw: Any) -> str:
    """Compile the conversion. A subquery computes the value once: `kit_value`."""
    bits, value = bits_of(element.type), rounded(element.element.type)
    lowest, highest = (-(2**bits), 2**bits - 1) if bits else (0, 1)
    cases = f"WHEN kit_value BETWEEN {lowest} AND {highest} THEN {value} WHEN kit_value IS NOT NULL THEN {TOO_LARGE}"
    return f"(SELECT CASE {cases} END FROM (SELECT {compiler.process(element.element, **kw)} AS kit_value))"  # noqa: S608


def rounded(kind: TypeEngine[Any]) -> str:
    """Return the SQL that rounds `kit_value` as PostgreSQL does: halves away from 0, but those of floats to even."""
    if isinstance(kind, Integer):
        return "kit_value"
    if not isinstance(kind, Float):
        return "CAST(round(kit_value) AS INTEGER)"
    is_half = "abs(kit_value - CAST(kit_value AS INTEGER)) = 0.5"
    return f"CAST(CASE WHEN {is_half} THEN 2 * round(kit_value / 2) ELSE round(kit_value) END AS INTEGER)"
