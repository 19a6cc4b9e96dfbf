"""Copies of rows: new rows with the same values, which are in no session."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Column, inspect
from sqlalchemy.ext.mutable import MutableBase
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import set_attribute, set_committed_value


def copied(row: Any, copy_value: Callable[[Any], Any]) -> Any:
    """Return a new row with copies of the values of the columns, and with the single related rows, but without lists.

    Pydantic's own copy shares the state of SQLAlchemy with the row, so that no session would store it. A column that
    was not loaded raises the exception of SQLAlchemy.
    """
    copy, mapper = type(row)(), inspect(type(row))
    for name in copied_columns(row, mapper):
        value = copy_value(getattr(row, name))
        (set_attribute if isinstance(value, MutableBase) else set_committed_value)(copy, name, value)
    for relationship in mapper.relationships:
        if not relationship.uselist and relationship.key in vars(row):
            set_committed_value(copy, relationship.key, vars(row)[relationship.key])
    object.__setattr__(copy, "__pydantic_fields_set__", set(row.__pydantic_fields_set__))
    object.__setattr__(copy, "__pydantic_private__", copy_value(row.__pydantic_private__))
    return copy


def copied_columns(row: Any, mapper: Mapper[Any]) -> Iterator[str]:
    """Return the names of the columns, and of the expressions (`column_property`) that were loaded."""
    for attribute in mapper.column_attrs:
        is_stored = all(isinstance(column, Column) for column in attribute.columns)
        if is_stored or attribute.key in vars(row):
            yield attribute.key
