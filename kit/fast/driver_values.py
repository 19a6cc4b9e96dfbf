"""Conversion of values between Python and the driver, by the processors of SQLAlchemy's types."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from types import NoneType
from typing import Any

from sqlalchemy import Float
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database.integer_values import whole_number
from kit.fast.driver import Processor, in_utc
from kit.models.moments import MomentColumn

INTEGERS = frozenset({int, NoneType})
"""The types of values that need no rounding (`whole_number`)."""
MOMENTS, IN_UTC, TZINFO = frozenset({datetime}), frozenset({UTC}), attrgetter("tzinfo")
NUMERIC, FLOAT8 = 1700, 701
"""The OIDs of these types in PostgreSQL. By them, SQLAlchemy's dialect chooses the result processor of numbers."""


def bind_processors(compiled: SQLCompiler, dialect: Dialect) -> list[tuple[str, Processor | None]]:
    """Return the names of a statement's parameters in the order of its text, each with its bind processor or None."""
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
    }
    return [(name, processors[name]) for name in compiled.positiontup or ()]


def unchanging(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Sequence[Any]], bool]:
    """Return a function that tells whether the bind processor of a type returns all of some values as they are.

    It may return False although the processor changes none.
    """
    if kind.dialect_impl(dialect).bind_processor(dialect) is whole_number:
        return are_integers
    return are_in_utc if type(kind) is MomentColumn and dialect.name == "postgresql" else are_unknown


def are_integers(values: Sequence[Any]) -> bool:
    return INTEGERS.issuperset(map(type, values))


def are_in_utc(values: Sequence[Any]) -> bool:
    return None not in values and MOMENTS.issuperset(map(type, values)) and IN_UTC.issuperset(map(TZINFO, values))


def are_unknown(_: Sequence[Any]) -> bool:
    return False


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return the function that converts a driver's value to the value of a column type; None if they are the same."""
    if isinstance(kind, UTCDateTime):
        return None if dialect.name == "postgresql" else in_utc  # asyncpg returns times in UTC
    impl = kind.dialect_impl(dialect)
    return impl.result_processor(dialect, FLOAT8 if isinstance(getattr(impl, "impl", impl), Float) else NUMERIC)
