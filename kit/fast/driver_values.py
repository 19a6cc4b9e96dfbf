"""Conversion of values between Python and the driver, by the processors of SQLAlchemy's types."""

from types import NoneType
from typing import Any

from sqlalchemy import Float
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.database.integer_values import whole_number
from kit.fast.driver import Processor, in_utc

INTEGERS = frozenset({int, NoneType})
"""The types of values that need no rounding (`whole_number`)."""
NUMERIC, FLOAT8 = 1700, 701
"""The OIDs of these types in PostgreSQL. By them, SQLAlchemy's dialect chooses the result processor of numbers."""


def bind_processors(compiled: SQLCompiler, dialect: Dialect) -> list[tuple[str, Processor | None]]:
    """Return the names of a statement's parameters in the order of its text, each with its bind processor or None."""
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
    }
    return [(name, processors[name]) for name in compiled.positiontup or ()]


def rounds(kind: TypeEngine[Any], dialect: Dialect) -> bool:
    """Return whether the bind processor of a type is `whole_number`."""
    return kind.dialect_impl(dialect).bind_processor(dialect) is whole_number


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return the function that converts a driver's value to the value of a column type; None if they are the same."""
    if isinstance(kind, UTCDateTime):
        return None if dialect.name == "postgresql" else in_utc  # asyncpg returns times in UTC
    impl = kind.dialect_impl(dialect)
    return impl.result_processor(dialect, FLOAT8 if isinstance(getattr(impl, "impl", impl), Float) else NUMERIC)
