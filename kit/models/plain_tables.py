"""Plain tables: gives the columns of SQLModel tables that are no entities the column types of entities.

SQLModel's own types store other values on SQLite than on PostgreSQL: decimals become floats, moments lose their time
zone, and PostgreSQL sorts texts by the collation of the database. Types for which there is no rule are used as they
are. CHECKs, versions and timestamps are for entities only.
"""

from copy import copy
from typing import Any

from pydantic.fields import FieldInfo
from sqlalchemy import Column, DateTime, Table, event
from sqlalchemy.orm import Mapper
from sqlalchemy.types import NullType, TypeEngine
from sqlmodel import AutoString, SQLModel

from kit.models.annotations import has_explicit_type
from kit.models.bounds import missing_bounds
from kit.models.columns import text_type
from kit.models.entities import Entity
from kit.models.explicit_types import suitable_type
from kit.models.kinds import shape_of_field
from kit.models.tables import column_of, column_type

OF_ENTITIES = ("decimal", "datetime", "date", "time", "duration", "integer", "text", "email")
"""The kinds of fields whose types are those of entities. SQLModel refuses, or stores alike, the others."""


@event.listens_for(SQLModel, "instrument_class", propagate=True)
def type_mapped_table(mapper: Mapper[Any], model: type[SQLModel]) -> None:
    """Set the column types of a table, before SQLAlchemy uses them."""
    table = mapper.local_table
    if issubclass(model, Entity) or mapper.inherits is not None or not isinstance(table, Table):
        return
    for name, field in model.model_fields.items():
        column = column_of(table, name, field)
        if column is not None and not isinstance(column.type, NullType):
            column.type = portable_type(column, field)


def portable_type(column: Column[Any], field: FieldInfo) -> TypeEngine[Any]:
    """Return the type that stores the values of a field alike on both databases; the given one if there is none."""
    shape, stored = shape_of_field(field), None
    if shape.kind == "decimal":  # an entity gets the digits of an explicit type before
        field = copy(field)
        field.metadata = [*field.metadata, *missing_bounds(shape, field)]
    if type(column.type) is DateTime and not column.type.timezone:
        return column.type  # moments without a time zone, as the declaration says
    if has_explicit_type(field):
        stored = suitable_type(column.type, shape, lambda: column_type(field))
    elif shape.kind in OF_ENTITIES:
        stored = column_type(field)
    found: TypeEngine[Any] = column.type if stored is None else stored
    return text_type(found.length) if isinstance(found, AutoString) else found
