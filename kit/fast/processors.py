"""Processors: how the type of a column converts a value for the driver, and back, in statements past the ORM."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Float
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

Processor = Callable[[Any], Any]
NUMERIC, FLOAT8 = 1700, 701
"""The OIDs by which SQLAlchemy's dialects for PostgreSQL choose how numbers are converted."""


def bind_processors(compiled: SQLCompiler, dialect: Dialect) -> list[tuple[str, Processor | None]]:
    """The parameters of a statement in the order of its text, each with its bind processor."""
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
    }
    return [(name, processors[name]) for name in compiled.positiontup or ()]


def result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Converts what the driver gives to the value in Python."""
    if isinstance(kind, UTCDateTime):
        return None if dialect.name == "postgresql" else in_utc  # asyncpg gives times in UTC
    impl = kind.dialect_impl(dialect)
    return impl.result_processor(dialect, FLOAT8 if isinstance(getattr(impl, "impl", impl), Float) else NUMERIC)


def in_utc(text: str | None) -> datetime | None:
    """A time as SQLite has it, in Python."""
    return None if text is None else datetime.fromisoformat(text + "+00:00")
