"""Own rows: the SQL condition that a row belongs to the principal, and the SELECT of such rows."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, TableClause, bindparam, column, select

from kit.auth.owners import owned_parent, owner_column, table_of
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity


@cache
def select_own(entity: type[Entity]) -> Select[Any]:
    """Return a SELECT of all columns of the rows that belong to the principal."""
    rows = plain_table(entity)
    return select(*rows.c).where(is_own(entity, rows.c[owner_column(entity).name]))


class PlainTable(TableClause):
    """A copy of an entity's table that `restricted_reads` leaves as it is, so that it includes the rows of others."""

    inherit_cache = True


@cache
def plain_table(entity: type[Entity]) -> PlainTable:
    rows = table_of(entity)
    return PlainTable(rows.name, *(column(each.name, each.type) for each in rows.columns), schema=rows.schema)


def is_own(
    entity: type[Entity], key: ColumnElement[Any] | None = None, *, is_bound: bool = False
) -> ColumnElement[bool]:
    """Return the SQL condition that a row belongs to the principal.

    `key` is the column that leads to the owner; by default, that of the entity's table. The id of the principal is
    bound when the statement is executed; with `is_bound`, at once, as loader options need it: SQLAlchemy keeps theirs.
    """
    key = owner_column(entity) if key is None else key
    parent = owned_parent(entity)
    if parent is not None:
        rows = plain_table(parent)
        is_of_own = is_own(parent, rows.c[owner_column(parent).name], is_bound=is_bound)
        return key.in_(select(rows.c.id).where(is_of_own))
    if is_bound:
        return key == bindparam("principal_id", principal_id(), type_=key.type, unique=True)
    return key == bindparam("principal_id", callable_=principal_id, type_=key.type, unique=True)


def principal_id() -> int | None:
    return CURRENT_PRINCIPAL.get().id
