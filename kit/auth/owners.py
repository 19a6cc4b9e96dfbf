"""Owners: the path of foreign keys from an entity to the owner of its rows, and the entities of tables.

An entity names the first column of the path in `belongs_to`. It is the id of a user, or the id of a row that has an
owner itself: `InvoiceLine.belongs_to = "invoice_id"`, `Invoice.belongs_to = "owner_id"`. A row whose column is empty
belongs to no user.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Table,
    inspect,
)
from sqlalchemy.orm import Mapper

from kit.auth.permissions import forbidden
from kit.http.principals import CURRENT_PRINCIPAL
from kit.http.problems import Problem
from kit.models.entities import Entity

FOUND: dict[Table, type[Entity] | None] = {}
"""A cache: the entity by table; None for a table that is not an entity's."""


class OwnershipError(RuntimeError):
    """Raised if the owners of a statement's rows cannot be determined, or if `belongs_to` leads to no owner."""


def not_the_owner() -> Problem:
    return forbidden("This belongs to another user.")


def without_owner() -> Problem:
    """Return the 403 for a change of a row whose entity has no `belongs_to`, in a handler for owners."""
    return forbidden("This belongs to no user: only superusers may change it.")


def is_principal(key: Any) -> bool:
    """Return whether a key is the id of the principal; False for None."""
    return key is not None and bool(key == CURRENT_PRINCIPAL.get().id)


# --- Columns and tables


def owner_column(entity: type[Entity]) -> Column[Any]:
    """Return the column that `belongs_to` names. Raises an OwnershipError if the table does not have it."""
    if not is_field(entity, str(entity.belongs_to)):
        raise OwnershipError(not_a_column(entity, "belongs_to", str(entity.belongs_to)))
    return table_of(entity).c[str(entity.belongs_to)]


def not_a_column(entity: type[Entity], declaration: str, name: str) -> str:
    """Return the error message for a name in `belongs_to` or `reserved` that is not a column of the table."""
    return (
        f"{entity.__name__}.{declaration} names {name!r}, which is not a column of its table: write the name of a "
        f'field, and if the column has another one, `"key": "{name}"` in its `sa_column_kwargs`.'
    )


def is_field(entity: type[Entity], name: str) -> bool:
    """Return whether a mapped attribute has the name of its column, so that Core statements can use it."""
    mapped, rows = inspect(entity).columns, table_of(entity)
    return isinstance(rows, Table) and name in mapped and mapped[name] is rows.c.get(name)


def table_of(entity: type[Entity]) -> Table:
    rows: Table = inspect(entity).local_table
    return rows


def entity_of(rows: Any) -> type[Entity] | None:
    """Return the entity of a table, found by name, so that a second `Table` or a `table()` of that name has it too."""
    if rows in FOUND:
        return FOUND[rows]
    name = name_of(rows)
    named = {table_of(entity): entity for entity in entities() if name_of(table_of(entity)) == name}
    found = named.get(rows) or next(iter(named.values()), None)
    if isinstance(rows, Table):
        FOUND[rows] = found
    return found


def name_of(rows: Any) -> str:
    """Return the name of a table in a form for comparison without case, as databases compare names."""
    return str(getattr(rows, "name", "")).casefold()


def entities(parent: type[Any] = Entity) -> Iterator[type[Entity]]:
    """Yield all subclasses of `parent` that have a table. They are entities if `parent` is an entity."""
    for child in parent.__subclasses__():
        if inspect(child, raiseerr=False) is not None:
            yield child
        yield from entities(child)


def forget_entities() -> None:
    """Clear the caches, which may lack entities that were declared after the first use."""
    FOUND.clear()
    names_of_links.cache_clear()


@cache
def names_of_links() -> frozenset[str]:
    """Return the names of the link tables (`secondary`) with an owned entity on one side at least."""
    mappers = {mapper for entity in entities() for mapper in inspect(entity).registry.mappers}
    found = [each for mapper in mappers for each in mapper.relationships if each.secondary is not None]
    return frozenset(name_of(each.secondary) for each in found if is_owned(each.parent) or is_owned(each.mapper))


def is_owned(mapper: Mapper[Any]) -> bool:
    return getattr(mapper.class_, "belongs_to", None) is not None


# --- The path to the owner


@cache
def owned_parent(entity: type[Entity]) -> type[Entity] | None:
    """Return the next entity on the path to the owner; None if `belongs_to` is the id of the owner.

    Raises an OwnershipError if the path is a cycle.
    """
    path, parent = [entity], direct_parent(entity)
    while parent is not None and parent not in path:
        path.append(parent)
        parent = direct_parent(parent)
    if parent is not None:
        raise OwnershipError(f"{entity.__name__}.belongs_to leads back to {parent.__name__}, and never to a user.")
    return path[1] if len(path) > 1 else None


def direct_parent(entity: type[Entity]) -> type[Entity] | None:
    """Return the entity that `belongs_to` refers to; None if it is the id of the owner.

    Raises an OwnershipError for a reference to a column that is not an id, or to a table without owners.
    """
    key = next(iter(owner_column(entity).foreign_keys), None)
    if key is None:
        return None
    mappers = inspect(entity).registry.mappers
    target: Any = next((each.class_ for each in mappers if each.local_table is key.column.table), None)
    if not key.column.primary_key:
        raise OwnershipError(f"{entity.__name__}.belongs_to leads to {key.target_fullname}: it must lead to an id.")
    if is_of_users(target):
        return None
    if target is None or not issubclass(target, Entity) or target.belongs_to is None:
        raise OwnershipError(
            f"{entity.__name__}.belongs_to leads to {key.target_fullname}, whose rows have no owner: write there "
            'the foreign key to the user, as in `belongs_to = "owner_id"`; in the table of users, `belongs_to = "id"`.'
        )
    parent: type[Entity] = target
    return parent


def is_of_users(table: Any) -> bool:
    """Return whether a class is the table of users: its rows belong to themselves."""
    mapper = inspect(table, raiseerr=False)
    name = getattr(table, "belongs_to", None)
    column = None if mapper is None else mapper.columns.get(str(name))
    return column is not None and bool(column.primary_key) and not column.foreign_keys
