"""How does a value become what the driver wants, and back: as its type says, for statements past the ORM."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine
from sqlmodel.sql.sqltypes import UTCDateTime

Convert = Callable[[Any], Any]
Reading = Callable[[TypeEngine[Any], Dialect], Convert | None]
"""What makes a value of this type of what the driver gives, if anything has to be done."""
NUMERIC = 1700
"""The OID by which SQLAlchemy's dialect for asyncpg chooses how decimals are read."""


@cache
def columns_of(entity: type[Any]) -> dict[str, Any]:
    """The columns of a table, by the names of their fields."""
    return {attribute.key: attribute.columns[0] for attribute in inspect(entity).column_attrs}


def writing(compiled: SQLCompiler, dialect: Dialect) -> list[tuple[str, Convert | None]]:
    """The names of a statement's values, in the order of its text, each with what makes of it what the driver wants."""
    binds = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
    return [(name, binds[name]) for name in compiled.positiontup or ()]


def reading(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """A value as Python has it."""
    if isinstance(kind, UTCDateTime):
        return None if dialect.name == "postgresql" else in_utc
    return kind.dialect_impl(dialect).result_processor(dialect, NUMERIC)


def showing(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """A value that goes straight to JSON: a time may be text, as `encode` would write it."""
    if isinstance(kind, UTCDateTime) and dialect.name == "sqlite":
        return rfc3339
    return reading(kind, dialect)


def rfc3339(text: str | None) -> str | None:
    """A time as SQLite has it (`2026-11-28 01:12:46.123456`, in UTC); a fraction of zero is left out."""
    return text and f"{text[:10]}T{text[11:].removesuffix('.000000')}Z"


def in_utc(text: str | None) -> datetime | None:
    """A time as SQLite has it; on PostgreSQL the driver gives it in UTC."""
    return None if text is None else datetime.fromisoformat(text + "+00:00")
