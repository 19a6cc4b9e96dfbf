"""Defaults of the database (`server_default`): the same value on SQLite and PostgreSQL, in the form of the column.

SQLite has no types for decimals, times or UUIDs. Its columns store them in the form that their type writes, so a
default must have that form too: `"9.99"` of an amount is 999 there. A default is a literal, a function in `FUNCTIONS`,
or an expression that both databases compute in the same way.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DefaultClause,
    Dialect,
    Double,
    Float,
    Integer,
    LargeBinary,
    String,
    Text,
    TextClause,
    Time,
    Uuid,
    literal,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator
from sqlmodel import AutoString
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.models.annotations import annotated, is_column_option, is_movable, rules_of
from kit.models.columns import DecimalColumn, DurationColumn, EnumColumn, JsonColumn, MoneyColumn, TextColumn
from kit.models.default_texts import EXAMPLES, READ
from kit.models.kinds import Shape, shape_of_field
from kit.models.moments import DateColumn, MomentColumn, TimeColumn
from kit.models.sqlite_times import NOW, NOW_TIME

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
NEW_UUID = (
    "lower(hex(randomblob(6)) || '4' || substr(hex(randomblob(2)), 2) || substr('89AB', 1 + (abs(random()) % 4), 1) "
    "|| substr(hex(randomblob(2)), 2) || hex(randomblob(6)))"
)
"""A random UUID (version 4) on SQLite."""
IN_UTC = "CAST(timezone('utc', CURRENT_TIMESTAMP) AS {})"
MOMENTS = ("now()", "current_timestamp", "current_timestamp()", "transaction_timestamp()")
FUNCTIONS: Mapping[tuple[str, str], tuple[str, str]] = {
    **{("datetime", name): (f"({NOW})", "CURRENT_TIMESTAMP") for name in MOMENTS},
    **{("date", name): ("CURRENT_DATE", f"({IN_UTC.format('date')})") for name in (*MOMENTS, "current_date")},
    **{
        ("time", name): (f"({NOW_TIME})", f"({IN_UTC.format('time')})")
        for name in (*MOMENTS, "current_time", "localtime")
    },
    ("uuid", "gen_random_uuid()"): (f"({NEW_UUID})", "gen_random_uuid()"),
}
"""By the kind of a field and the SQL of a function on PostgreSQL: the default on SQLite and on PostgreSQL."""
PLAIN = frozenset({"boolean", "integer", "number", "text", "email"})
"""The kinds that both databases store in the form of SQL, so that an expression may compute them."""
KNOWN = frozenset({"lower", "upper", "trim", "replace", "length", "abs", "coalesce", "nullif", ""})
"""The functions of such expressions that have the same result on both databases; "" is a pair of parentheses."""
TYPES = frozenset({
    Boolean, Integer, BigInteger, Float, Double, String, AutoString, Text, LargeBinary, Date, Time, Uuid, JSON,
    UTCDateTime, MomentColumn, DateColumn, TimeColumn,
    DecimalColumn, MoneyColumn, DurationColumn, TextColumn, EnumColumn, JsonColumn,
})  # fmt: skip
"""The column types whose defaults are converted. Those of other types are used as they are written."""
QUOTED = re.compile(r"'((?:[^']|'')*)'(?:::[\w ]+)?|CAST\('((?:[^']|'')*)' AS [\w ]+\)", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


class PerDatabase(ColumnElement[Any]):
    """A default with one SQL text for SQLite and another for PostgreSQL."""

    inherit_cache = False

    def __init__(self, on_sqlite: str, on_postgresql: str) -> None:
        self.on_sqlite, self.on_postgresql = on_sqlite, on_postgresql


@compiles(PerDatabase)
def _on_postgresql(element: PerDatabase, _: SQLCompiler, **__: Any) -> str:
    return element.on_postgresql


@compiles(PerDatabase, "sqlite")
def _on_sqlite(element: PerDatabase, _: SQLCompiler, **__: Any) -> str:
    return element.on_sqlite


def convert_default(entity: Any, name: str, column: Column[Any], field: FieldInfo) -> None:
    """Replace the default of a column by one with the same value on both databases.

    Raises a TypeError for a default that is not a value of the field, or that is not known to be the same on both.
    """
    default, shape = column.server_default, shape_of_field(field)
    if not isinstance(default, DefaultClause) or type(column.type) not in TYPES or shape.kind is None:
        return
    given = default.arg if isinstance(default.arg, str) else sql_of(default.arg)
    if isinstance(default.arg, PerDatabase) or given.upper() == "NULL":
        return
    text = given if isinstance(default.arg, str) else literal_in(given)
    try:
        made = of_function(shape, given) if text is None else of_value(column, field, shape, text)
    except (ValueError, ArithmeticError, ValidationError) as failure:
        raise TypeError(
            f"{entity.__name__}.{name} has the server_default {given!r}, which is not a value of the field, of "
            f"the kind {shape.kind}: write it as {EXAMPLES[shape.kind]}."
        ) from failure
    if made is None:
        raise TypeError(
            f"{entity.__name__}.{name} has the server_default {given!r}, which is not known to be the same on SQLite "
            f"and PostgreSQL: write a literal, or `default=` or `default_factory=`, which Python computes."
        )
    column.server_default = DefaultClause(made)


def convert_texts(column: Column[Any], field: FieldInfo) -> None:
    """Replace texts in `FUNCTIONS` that an INSERT or UPDATE executes for a column (`default`, `onupdate`)."""
    for executed in (column.default, column.onupdate):
        expression: Any = getattr(executed, "arg", None)
        text = expression.text.strip().lower() if isinstance(expression, TextClause) else ""
        if found := FUNCTIONS.get((str(shape_of_field(field).kind), text)):
            cast(Any, executed).arg = PerDatabase(*found)


def sql_of(expression: Any) -> str:
    """Return the SQL of an expression on PostgreSQL."""
    return str(expression.compile(dialect=POSTGRESQL, compile_kwargs={"literal_binds": True})).strip()


def literal_in(sql: str) -> str | None:
    """Return the text of an SQL literal; None for an expression."""
    bare = sql[1:-1].strip() if re.fullmatch(r"\([^()]*\)", sql) else sql
    if found := QUOTED.fullmatch(bare):
        return next(part for part in found.groups() if part is not None).replace("''", "'")
    return bare if NUMBER.fullmatch(bare) or bare.lower() in ("true", "false") else None


def of_function(shape: Shape, sql: str) -> Any:
    """Return the default that an SQL expression stands for; None if it may differ between the databases."""
    bare = sql.lower()
    if found := FUNCTIONS.get((str(shape.kind), bare)):
        return PerDatabase(*found)
    called = set(re.findall(r"(\w*)\s*\(", re.sub(r"'(?:[^']|'')*'", "''", bare)))
    is_same = shape.kind in PLAIN and called <= KNOWN and "::" not in bare and "current_" not in bare
    return PerDatabase(f"({sql})", f"({sql})") if is_same else None


def of_value(column: Column[Any], field: FieldInfo, shape: Shape, text: str) -> Any:
    """Return the default for a value that is written as text. Raises an exception if the field refuses the value."""
    kind, value = cast(Any, column.type), READ[shape.kind](text)
    return in_both(
        kind, validated(field, kind.process_result_value(value, POSTGRESQL) if isinstance(kind, EnumColumn) else value)
    )


def in_both(kind: Any, value: Any) -> Any:
    """Return the default for a value of a column type: a text, or a `PerDatabase` if the texts differ."""
    bound = kind.process_bind_param(value, POSTGRESQL) if isinstance(kind, TypeDecorator) else value
    if isinstance(kind, JSON | JsonColumn):
        return json.dumps(bound)
    if isinstance(value, bytes):
        return PerDatabase(f"X'{value.hex()}'", f"'\\x{value.hex()}'")
    on_sqlite, on_postgresql = unquoted(stored_on_sqlite(kind, value)), text_of(bound)
    return on_sqlite if on_sqlite == on_postgresql else PerDatabase(quoted(on_sqlite), quoted(on_postgresql))


def validated(field: FieldInfo, value: Any) -> Any:
    """Return the value as the field validates it, unless it has a validator of the application."""
    if any(not is_column_option(part) and not is_movable(part) for part in field.metadata):
        return value
    adapter: TypeAdapter[Any] = TypeAdapter(annotated(*rules_of(field)))
    return adapter.validate_python(value)


def stored_on_sqlite(kind: Any, value: Any) -> str:
    """Return a value as an SQL literal of SQLite, in the form that the column type stores."""
    return str(literal(value, kind).compile(dialect=SQLITE, compile_kwargs={"literal_binds": True}))


def text_of(value: Any) -> str:
    """Return the text that PostgreSQL converts to a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
    return str(value)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def unquoted(sql: str) -> str:
    return sql[1:-1].replace("''", "'") if sql.startswith("'") else sql
