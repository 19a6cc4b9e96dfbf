"""Field names: the names by which clients know the columns of a table, for errors of the database."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, inspect
from sqlmodel import SQLModel

from kit.database.absent import models
from kit.models.entities import name_in_bodies


def fields_of_columns(columns: Iterable[Column[Any]]) -> list[str]:
    return list(dict.fromkeys(map(field_of_column, columns)))


def field_of_column(column: Column[Any]) -> str:
    """Return the field of a column as a body has it: by its alias, or by its name, which the column may not have."""
    for model in models(SQLModel):
        is_mapped = getattr(model, "__table__", None) is column.table
        for attribute in inspect(model).column_attrs if is_mapped else ():
            if any(part is column for part in attribute.columns):
                return name_in_bodies(model, attribute.key)
    return column.key
