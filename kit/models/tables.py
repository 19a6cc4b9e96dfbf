"""Tables: derives the column types, CHECKs and indexes from the fields of an entity.

Explicit declarations take precedence: a column type in `sa_type`, a CHECK with the name of the field, or an index that
begins with the field.
"""

from copy import copy
from typing import Any, get_origin

from pydantic import BaseModel, Json, TypeAdapter
from pydantic.fields import FieldInfo
from sqlalchemy import JSON, Boolean, Column, Float, Integer, LargeBinary, Table, Uuid
from sqlalchemy.types import NullType, TypeEngine
from sqlmodel import AutoString, Field, SQLModel

from kit.models.annotations import Derived, annotated, has_explicit_type, rules_of
from kit.models.bound_checks import within
from kit.models.bounds import digits_of
from kit.models.columns import BIGINT, DecimalColumn, DurationColumn, EnumColumn, JsonColumn, TextColumn, text_type
from kit.models.decimal_rules import apply_decimal_rules
from kit.models.explicit_types import has_variants, suitable_type, unsuitable
from kit.models.indexes import refuse_json_entries, refuse_long_entries, widen_indexes
from kit.models.json_comparisons import refuse_comparisons
from kit.models.json_equality import compare_as_json
from kit.models.json_values import MAX_INTEGER, MIN_INTEGER
from kit.models.kinds import Shape, option, shape_of, shape_of_field
from kit.models.moments import DateColumn, MomentColumn, TimeColumn
from kit.models.server_defaults import convert_default, convert_texts
from kit.models.stored_models import as_stored
from kit.models.table_checks import add_check
from kit.models.texts import ADDRESS_LENGTHS

SMALL = range(-(2**31), 2**31)
"""The range of a 32-bit INTEGER."""
SHORTEST_MEMBER = 16
"""The minimum length of a column for the values of an enum. Longer new values then rarely need a migration."""


def type_columns(entity: type[SQLModel]) -> None:
    """Set the column types of an entity's fields, before SQLModel creates the columns. Raises a TypeError."""
    for name, field in entity.model_fields.items():
        if has_explicit_type(field):
            continue
        stored = column_type(field)
        if stored is None:
            raise TypeError(unknown_type(entity, name, field))
        if isinstance(stored, JsonColumn):
            refuse_excluded(entity, name, field.annotation, frozenset())
        field.metadata = [*with_type(field.metadata, stored), Derived()]


def refuse_excluded(entity: type[SQLModel], name: str, annotation: Any, seen: frozenset[Any]) -> None:
    """Raise a TypeError if a model that is stored as JSON has a field with `exclude`, which would not be stored."""
    plain = shape_of(annotation).plain
    if plain in seen:
        return
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        for key, field in plain.model_fields.items():
            if field.exclude or field.exclude_if is not None:
                raise TypeError(
                    f"{entity.__name__}.{name} stores {plain.__name__}, whose field {key} has `exclude`, and would not "
                    "be stored: leave `exclude` out, and show another model without the field."
                )
    for part, _ in within(plain, seen):
        refuse_excluded(entity, name, part, seen | {plain})


def unknown_type(entity: type[SQLModel], name: str, field: FieldInfo) -> str:
    shown = getattr(field.annotation, "__name__", None) or field.annotation
    return (
        f"{entity.__name__}.{name} is of type {shown}, for which the kit knows no column: write a type that JSON knows "
        "(bool, int, float, Decimal, str, bytes, date, datetime, time, timedelta, UUID, an enum of texts or of "
        "integers, Literal, IPv4Address, EmailStr, AnyHttpUrl, dict, list, a pydantic model), or say with `sa_type` "
        "how it is stored."
    )


def with_type(metadata: list[Any], stored: TypeEngine[Any]) -> list[Any]:
    """Return the annotations of a field, with the column type `stored` in the column options."""
    options = next((part for part in metadata if hasattr(part, "sa_type")), None)
    if options is None:
        return [*metadata, *Field(sa_type=stored).metadata]
    changed = copy(options)
    changed.sa_type = stored
    return [changed if part is options else part for part in metadata]


def column_type(field: FieldInfo) -> Any:
    """Return the column type for the type of a field; None if that is not supported."""
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
        return TextColumn(shape.plain, ADDRESS_LENGTHS[shape.plain])
    return of_members(shape) if kind in ("member", "integer member") else of_json(field) if kind == "json" else None


PLAIN: dict[str | None, Any] = {
    "boolean": Boolean(), "number": Float(), "bytes": LargeBinary(), "date": DateColumn(), "time": TimeColumn(),
    "datetime": MomentColumn(), "duration": DurationColumn(), "uuid": Uuid(),
}  # fmt: skip


def of_members(shape: Shape) -> Any:
    """Return the column type of an enum or Literal: integers, or text with room for longer values than now."""
    values, is_enum = shape.members, get_origin(shape.plain) is None
    if shape.kind == "integer member":
        return EnumColumn(shape.plain, None) if is_enum else BIGINT
    length = SHORTEST_MEMBER
    while length < max(map(len, values)):
        length *= 2
    return EnumColumn(shape.plain, length) if is_enum else AutoString(length)


def of_json(field: FieldInfo) -> JsonColumn:
    """Return the column type of a JSON field. It validates without `Json[…]`, because the values are parsed already."""
    plain, rules = rules_of(field)
    others = [part for part in rules if part is not Json and type(part) is not Json]
    kind = annotated(plain, others)
    return JsonColumn(TypeAdapter(kind), TypeAdapter(as_stored(kind)))


def complete_table(entity: Any, table: Table) -> None:
    """Add CHECKs and indexes to a table. Raises a TypeError for a declaration that the kit does not support."""
    refuse_other_names(entity, table)
    refuse_other_keys(entity, table)
    found = {name: column_of(table, name, field) for name, field in entity.model_fields.items()}
    columns = {name: column for name, column in found.items() if column is not None}
    for name, column in columns.items():
        if has_explicit_type(entity.model_fields[name]):
            use_suitable_type(entity, name, column)
    for column in table.columns:
        if isinstance(column.type, AutoString):
            column.type = text_type(column.type.length)
    for name, column in columns.items():
        complete_column(entity, table, name, column)
    apply_decimal_rules(entity, table)
    compare_as_json(table)
    refuse_comparisons(column for column in table.columns if is_json_of_both(column.type))
    refuse_json_entries(entity, table)
    refuse_long_entries(entity, table)
    widen_indexes(table)
    use_autoincrement(table)


def complete_column(entity: Any, table: Table, name: str, column: Column[Any]) -> None:
    """Convert the defaults that the database computes, and add a CHECK, which keys do not need."""
    field = entity.model_fields[name]
    if is_any_or_none(field):
        column.nullable = True
    convert_default(entity, name, column, field)
    convert_texts(column, field)
    if not column.foreign_keys and not column.primary_key:
        add_check(table, column, field)


def is_json_of_both(kind: TypeEngine[Any]) -> bool:
    """Return whether a column type is SQLAlchemy's JSON, without a variant such as JSONB on PostgreSQL."""
    return type(kind) is JSON and not has_variants(kind)


def is_any_or_none(field: FieldInfo) -> bool:
    """Return whether a field is `Any = None`, which SQLModel takes for NOT NULL, as it has no `None` in its type."""
    given = (option(field, "sa_column_kwargs") or {}).get("nullable", option(field, "nullable"))
    return field.annotation is Any and field.default is None and given is None and not has_explicit_type(field)


def column_of(table: Table, name: str, field: FieldInfo) -> Column[Any] | None:
    """Return the column of a field, which may have another name in the database."""
    options, explicit = option(field, "sa_column_kwargs") or {}, option(field, "sa_column")
    return table.columns.get(options.get("key") or options.get("name") or getattr(explicit, "key", None) or name)


def use_suitable_type(entity: Any, name: str, column: Column[Any]) -> None:
    """Replace an explicit column type by the one that is the same on both databases. Raises a TypeError for others.

    A foreign key without a type gets that of its target from SQLAlchemy.
    """
    field, given = entity.model_fields[name], column.type
    if isinstance(given, NullType) and column.foreign_keys:
        return
    shape = shape_of_field(field)
    stored = suitable_type(given, shape, lambda: column_type(field))
    if stored is None:
        raise TypeError(f"{entity.__name__}.{name} {unsuitable(given, shape)}")
    if stored is not given:
        column.type = stored


def refuse_other_names(entity: Any, table: Table) -> None:
    """Raise a TypeError if a column that the service uses does not have the name of its field as key."""
    for name in ("id", "version", "created_at", "updated_at"):
        if name not in table.columns:
            raise TypeError(
                f"{entity.__name__}.{name} has another name in the database: "
                f'add `"key": "{name}"` to its `sa_column_kwargs`, so that the service finds the column.'
            )


def refuse_other_keys(entity: Any, table: Table) -> None:
    """Raise a TypeError for a primary key with more columns than the id, which is all that URLs of rows contain."""
    others = [column.key for column in table.primary_key if column.key != "id"]
    if others:
        raise TypeError(
            f"{entity.__name__} has more columns in its primary key than the id: write "
            f"`UniqueConstraint({', '.join(map(repr, others))})` in `__table_args__`, without `primary_key=True`."
        )


def use_autoincrement(table: Table) -> None:
    """Set `sqlite_autoincrement`, so that SQLite never reuses an id, unless the table sets it."""
    is_set = "sqlite_autoincrement" in list(table.dialect_kwargs)  # without `list`, `in` is true for defaults too
    if table.autoincrement_column is not None and not is_set:
        table.dialect_kwargs["sqlite_autoincrement"] = True
