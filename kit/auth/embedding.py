"""Embeddable rows: the WHERE conditions for related rows in a response, which are those of a list of these rows."""

from collections.abc import Sequence, Set
from contextvars import ContextVar

from sqlalchemy import ColumnElement, inspect

from kit.auth.own_rows import is_own
from kit.auth.owners import owner_column
from kit.models.deletion import visible
from kit.models.entities import Entity

Entities = Set[type[Entity]]
NO_ENTITIES: Entities = frozenset()
FOR_OWNERS: ContextVar[Entities] = ContextVar("for_owners", default=NO_ENTITIES)
"""The entities of which the caller may read only the own rows: all their lists are for `Who.OWNERS`."""


def embeddable(entity: type[object]) -> Sequence[ColumnElement[bool]]:
    """Return the WHERE conditions for embedded rows: that they are not deleted, and that the caller may read them."""
    if entity in FOR_OWNERS.get() and issubclass(entity, Entity):
        return [*visible(entity), own_rows_of(entity)]
    return visible(entity)


def own_rows_of(entity: type[Entity]) -> ColumnElement[bool]:
    mapper = inspect(entity)
    attribute = getattr(entity, mapper.get_property_by_column(owner_column(entity)).key)
    return is_own(entity, attribute, is_bound=True)
