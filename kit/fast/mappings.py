"""Mappings: the columns of the entities that can be read and stored without the ORM."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Column, inspect
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import ColumnProperty, Mapper, MapperProperty
from sqlalchemy.orm.attributes import manager_of_class
from sqlalchemy.types import TypeDecorator, TypeEngine

from kit.models.entities import Entity

LOADED_LATER = ("select", "raise", "raise_on_sql", "dynamic", "write_only", True)
"""The values of `lazy` with which a relationship is not loaded together with the row."""
IMMUTABLE = (str, int, float, bool, Decimal, datetime, date, time, timedelta, UUID, bytes, Enum)
KNOWN_DECORATORS = ("kit.", "sqlmodel.")
"""The packages whose type decorators return values of their `python_type`."""


@dataclass(frozen=True, eq=False)
class EntityMapping:
    """The mapping of an entity to one table with plain columns. `columns` are by the name of the field."""

    entity: type[Entity]
    columns: Mapping[str, Column[Any]]
    ident_type: type | None
    manager: Any
    """SQLAlchemy's `ClassManager`, which creates the `InstanceState` of a row."""
    identity_key: Callable[[tuple[Any, ...]], Any]
    """Returns the key in `Session.identity_map` of the row with a primary key."""
    defaults: tuple[str, ...]
    """The fields that get a default from the ORM or the database."""
    relationships: frozenset[str]
    first_version: tuple[str, Any] | None
    """The field of the version counter, and the value that the ORM always stores in it for a new row."""
    is_insertable: bool
    """Whether every column of the table is a field, so that an INSERT of the fields is complete."""
    is_changeable: bool
    """Whether an UPDATE needs no other values than the changed ones, the next version and `updated_at`."""
    is_shareable: bool
    """Whether requests may share the values of a row, as all their types are immutable, and it needs no session."""


def _mapping_of(entity: Any) -> EntityMapping | None:
    """Return the mapping of an entity with one table and plain columns; None for others."""
    if not (isinstance(entity, type) and issubclass(entity, Entity)):
        return None
    mapper = inspect(entity, raiseerr=False)
    if not isinstance(mapper, Mapper) or not _is_one_table(mapper) or not all(map(_is_plain, mapper.attrs)):
        return None
    columns = columns_of(entity)
    if mapper.primary_key != (columns.get("id"),) or mapper.always_refresh:
        return None
    return EntityMapping(
        entity,
        columns,
        ident_type=value_type(columns["id"].type),
        manager=manager_of_class(entity),
        identity_key=mapper.identity_key_from_primary_key,
        defaults=_with_defaults(mapper, columns),
        relationships=frozenset(mapper.relationships.keys()),
        first_version=_first_version(mapper),
        is_insertable={*mapper.local_table.columns} == {*columns.values()},
        is_changeable=_is_changeable(mapper, columns),
        is_shareable=not issubclass(entity, AsyncAttrs)  # loads related rows by the session that a row belongs to
        and all(value_type(column.type) is not None for column in columns.values()),
    )


mapping_of: Callable[[Any], EntityMapping | None] = cache(_mapping_of)
"""The mapping of an entity; None if the entity needs the ORM."""


def columns_of(entity: type[Any]) -> dict[str, Column[Any]]:
    """Return the columns of an entity, by the names of the fields."""
    return {attribute.key: attribute.columns[0] for attribute in inspect(entity).column_attrs}


def value_type(kind: TypeEngine[Any]) -> type | None:
    """Return the Python type of a column's values; None if it is unknown or mutable."""
    if isinstance(kind, TypeDecorator):
        if not type(kind).__module__.startswith(KNOWN_DECORATORS):
            return None
        if type(kind).python_type is TypeDecorator.python_type:
            return value_type(kind.impl_instance)
    try:
        python_type = kind.python_type
    except NotImplementedError:
        return None
    return python_type if issubclass(python_type, IMMUTABLE) else None


def _is_one_table(mapper: Mapper[Any]) -> bool:
    return mapper.inherits is None and mapper.polymorphic_on is None and list(mapper.tables) == [mapper.local_table]


def _is_plain(attribute: MapperProperty[Any]) -> bool:
    """Return whether an attribute is a column that is loaded with the row, or is not loaded with the row at all."""
    if isinstance(attribute, ColumnProperty):
        is_column = len(attribute.columns) == 1 and isinstance(attribute.columns[0], Column)
        return is_column and not attribute.deferred and attribute.columns[0].table is attribute.parent.local_table
    return getattr(attribute, "lazy", "select") in LOADED_LATER


def _with_defaults(mapper: Mapper[Any], columns: Mapping[str, Column[Any]]) -> tuple[str, ...]:
    numbered = mapper.local_table.autoincrement_column  # type: ignore[attr-defined]  # a table
    others = [(name, column) for name, column in columns.items() if column is not numbered]
    return tuple(name for name, column in others if column.primary_key or column.default or column.server_default)


def _is_changeable(mapper: Mapper[Any], columns: Mapping[str, Column[Any]]) -> bool:
    is_counted = _first_version(mapper) == ("version", 1) and mapper.version_id_generator(1) == 2  # type: ignore[misc, operator]  # callable
    others = [column for name, column in columns.items() if name not in ("version", "updated_at")]
    has_defaults = any(column.onupdate is not None or column.server_onupdate is not None for column in others)
    is_complete = {*mapper.local_table.columns} == {*columns.values()}
    return is_counted and is_complete and "updated_at" in columns and not has_defaults


def _first_version(mapper: Mapper[Any]) -> tuple[str, Any] | None:
    if mapper.version_id_col is None or not callable(mapper.version_id_generator):
        return None
    field = mapper.get_property_by_column(mapper.version_id_col).key
    return field, mapper.version_id_generator(None)
