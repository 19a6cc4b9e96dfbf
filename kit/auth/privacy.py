"""Privacy: which columns of a table only superusers and the owner of a row may see."""

from collections.abc import Collection
from functools import cache

from sqlalchemy import Table, inspect

from kit.auth.permissions import forbidden
from kit.models.entities import Entity
from kit.models.privacy import is_private

NOTHING: frozenset[str] = frozenset()


def private_columns(table: Table) -> frozenset[str]:
    return frozenset(column.key for column in table.columns if is_private(column.info))


@cache
def private_fields_of(entity: type[Entity]) -> frozenset[str]:
    """The fields of other users' rows that only superusers may see."""
    return private_columns(inspect(entity).local_table)


def refuse_private(fields: Collection[str]) -> None:
    """A 403 for a filter or sort by a private field, because the result would reveal its values."""
    for name in fields:
        raise forbidden(f"Only superusers may filter or sort by {name}.")
