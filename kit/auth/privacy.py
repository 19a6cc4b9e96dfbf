"""Privacy: the columns of a table that only superusers and the owner of a row may see."""

from collections.abc import Collection
from functools import cache

from sqlalchemy import Column, Table, inspect

from kit.auth.permissions import forbidden
from kit.models.entities import Entity
from kit.models.privacy import is_private

NO_FIELDS: frozenset[str] = frozenset()


def private_columns(table: Table) -> frozenset[str]:
    return frozenset(column.key for column in table.columns if is_private(column.info))


@cache
def private_fields_of(entity: type[Entity]) -> frozenset[str]:
    """Return the fields that only the owner of a row and superusers may see. Their columns may have other names."""
    return frozenset(name for name, column in inspect(entity).columns.items() if is_private_column(column))


def is_private_column(column: object) -> bool:
    """Return whether a column is private. An expression in place of a column (`column_property`) is not."""
    return isinstance(column, Column) and is_private(column.info)


def refuse_private(fields: Collection[str]) -> None:
    """Raise a 403 that names the first of these private fields: a filter or sort by it would reveal its values."""
    for name in fields:
        raise forbidden(f"Only superusers may filter or sort by {name}.")
