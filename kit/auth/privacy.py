"""What may they see: the private fields of a thing are for superusers, and for the one to whom it belongs."""

from collections.abc import Collection
from functools import cache

from sqlalchemy import Table, inspect

from kit.auth.permissions import CALLER, forbidden
from kit.models.entities import Entity

NONE: frozenset[str] = frozenset()


def private_fields(table: Table) -> frozenset[str]:
    """The fields whose column says that they are private."""
    return frozenset(column.key for column in table.columns if column.info.get("private"))


@cache
def private(entity: type[Entity]) -> frozenset[str]:
    return private_fields(inspect(entity).local_table)


def hidden(entity: type[Entity]) -> frozenset[str]:
    """The fields that this caller may not see of others."""
    return NONE if CALLER.get().is_superuser else private(entity)


def hidden_of(thing: Entity) -> frozenset[str]:
    """The fields that this caller may not see of this thing."""
    fields = hidden(type(thing))
    is_theirs = fields and thing.belongs_to and getattr(thing, thing.belongs_to) == CALLER.get().id
    return NONE if is_theirs else fields


def refuse(fields: Collection[str]) -> None:
    """Who may not see a field may not filter or sort by it either."""
    for name in fields:
        raise forbidden(f"Only superusers may filter or sort by {name}.")
