"""Tables: derives the column types, CHECKs and indexes from the fields of an entity.

Explicit declarations take precedence: a type with `sa_type`, a CHECK with the name of the field, an index that begins
with the field.
"""

import operator
from collections.abc import Iterator, Mapping
from copy import copy
from datetime import time
from decimal import Decimal
from typing import Any, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Date,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Time,
    UniqueConstraint,
    Uuid,
    and_,
    func,
    literal_column,
)
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString, Field, SQLModel
from sqlmodel.sql.sqltypes import UTCDateTime

from kit.models.bounds import digits_of
from kit.models.columns import BIGINT, DecimalColumn, DurationColumn, JsonColumn, MemberColumn, TextColumn, text_type
from kit.models.fields import Derived, annotated, rules_of
from kit.models.forms import MAX_INTEGER, MIN_INTEGER
from kit.models.kinds import Shape, option, shape_of_field
from kit.models.texts import OF_ADDRESSES

SMALL = range(-(2**31), 2**31)
"""The range of a column of 32 bits."""
SHORTEST_MEMBER = 16
"""Minimum length of a column for the values of an enum, so that a new value seldom needs a migration."""


LONGEST_ENTRY = 650
"""Maximum length of an indexed text; each character may have four bytes."""


def type_columns(entity: type[SQLModel]) -> None:
    """Set the column types of the fields of an entity, before its columns are created."""
    for name, field in entity.model_fields.items():
        if says_its_type(field):
            continue
        stored = column_type(field)
        if stored is None:
            raise TypeError(unknown_type(entity, name, field))
        field.metadata = [*with_type(field.metadata, stored), Derived()]


def says_its_type(field: FieldInfo) -> bool:
    """Whether the resource sets the column type of a field."""
    if Derived() in field.metadata:
        return False
    return option(field, "sa_type") is not None or option(field, "sa_column") is not None


def unknown_type(entity: type[SQLModel], name: str, field: FieldInfo) -> str:
    shown = getattr(field.annotation, "__name__", None) or field.annotation
    return (
        f"{entity.__name__}.{name} is of type {shown}, for which the kit knows no column: write a type that JSON knows "
        "(bool, int, float, Decimal, str, bytes, date, datetime, time, timedelta, UUID, an enum of texts or of "
        "integers, Literal, IPv4Address, EmailStr, AnyHttpUrl, dict, list, a pydantic model), or say with `sa_type` "
        "how it is stored."
    )


def with_type(metadata: list[Any], stored: TypeEngine[Any]) -> list[Any]:
    """Return the annotations of a field with this column type in its column options."""
    options = next((part for part in metadata if hasattr(part, "sa_type")), None)
    if options is None:
        return [*metadata, *Field(sa_type=stored).metadata]
    changed = copy(options)
    changed.sa_type = stored
    return [changed if part is options else part for part in metadata]


def column_type(field: FieldInfo) -> Any:
    """Return the column type of a field; None if the type of the field is unknown."""
    shape = shape_of_field(field)
    kind, bounds = shape.kind, shape.bounds
    if kind in PLAIN:
        return PLAIN[kind]
    if kind == "integer":
        lowest, highest = (
            bounds.get("ge", bounds.get("gt", MIN_INTEGER)),
            bounds.get("le", bounds.get("lt", MAX_INTEGER)),
        )
        is_small = int(lowest) in SMALL and int(highest) in SMALL and not option(field, "foreign_key")
        return Integer() if is_small else BIGINT
    if kind == "decimal":
        whole, places, is_fixed = digits_of(shape)
        return DecimalColumn(whole, places, is_fixed=is_fixed)
    if kind in ("text", "email"):
        return AutoString(bounds.get("max_length"))
    if kind == "url":
        return TextColumn(shape.plain, bounds["max_length"])
    if kind == "address":
        return TextColumn(shape.plain, OF_ADDRESSES[shape.plain])
    return of_members(shape) if kind in ("member", "integer member") else of_json(field) if kind == "json" else None


PLAIN: dict[str | None, Any] = {
    "boolean": Boolean(), "number": Float(), "bytes": LargeBinary(), "date": Date(), "time": Time(),
    "datetime": UTCDateTime(), "duration": DurationColumn(), "uuid": Uuid(),
}  # fmt: skip


def of_members(shape: Shape) -> Any:
    """Return a text column with room for longer values than the current ones, or an integer column."""
    values, is_enum = shape.members, get_origin(shape.plain) is None
    if shape.kind == "integer member":
        return MemberColumn(shape.plain, None) if is_enum else BIGINT
    length = SHORTEST_MEMBER
    while length < max(map(len, values)):
        length *= 2
    return MemberColumn(shape.plain, length) if is_enum else AutoString(length)


def of_json(field: FieldInfo) -> JsonColumn:
    return JsonColumn(TypeAdapter(annotated(*rules_of(field))))


def complete_table(entity: Any, table: Table) -> None:
    """Add CHECKs and indexes to a table, and check the lengths of indexed texts."""
    for column in table.columns:
        if isinstance(column.type, AutoString):
            column.type = text_type(column.type.length)
    for name, field in entity.model_fields.items():
        stored = table.columns.get(name)
        if stored is not None and not stored.foreign_keys and not stored.primary_key:
            add_check(table, stored, field)
    refuse_long_entries(entity, table)
    widen_indexes(table)
    number_rows(table)


def refuse_long_entries(entity: Any, table: Table) -> None:
    """Raise a TypeError for an index on texts that may be too long for PostgreSQL."""
    uniques = [part for part in table.constraints if isinstance(part, UniqueConstraint)]
    parts: list[Index | UniqueConstraint] = [*table.indexes, *uniques]
    for stored in (column for part in parts for column in part.columns):
        longest = getattr(stored.type, "length", None) or 0
        if isinstance(stored.type, String) and longest > LONGEST_ENTRY:
            raise TypeError(
                f"{entity.__name__}.{stored.name} has an index and up to {longest} characters, but an entry of an "
                f"index of PostgreSQL has 2704 bytes at most: write `max_length={LONGEST_ENTRY}` or less, or no index."
            )


def number_rows(table: Table) -> None:
    """Set `sqlite_autoincrement`, so that SQLite never reuses an id, unless the table sets it."""
    says_so = "sqlite_autoincrement" in list(table.dialect_kwargs)  # `in` without `list` finds defaults, too
    if table.autoincrement_column is not None and not says_so:
        table.dialect_kwargs["sqlite_autoincrement"] = True


def widen_indexes(table: Table) -> None:
    """Add the id as second column to indexes of one column, to make the order of pages total."""
    for index in list(table.indexes):
        columns = list(index.columns)
        if len(columns) != 1 or index.unique or not columns[0].index:
            continue
        table.indexes.discard(index)
        columns[0].index = False  # a copy of the table would make it again
        others = [other for other in table.indexes if [*other.columns.keys()] == [columns[0].key, "id"]]
        for other in others:
            table.indexes.discard(other)
        Index(index.name, columns[0], table.columns["id"])


def add_check(table: Table, column: Column[Any], field: FieldInfo) -> None:
    """Add a CHECK for the bounds of a field or the values of its enum, with the name of the field."""
    known = {str(part.name) for part in table.constraints if isinstance(part, CheckConstraint)}
    conditions = [] if says_its_type(field) else list(conditions_of(shape_of_field(field), column))
    if conditions and known.isdisjoint({column.name, f"ck_{table.name}_{column.name}"}):
        table.append_constraint(CheckConstraint(and_(*conditions), name=column.name))


def conditions_of(shape: Shape, column: Column[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions that both databases can check."""
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
    """Yield conditions for the bounds of a value, except those that its column type implies."""
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
