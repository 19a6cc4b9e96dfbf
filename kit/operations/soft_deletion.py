"""Soft deletion: a deleted row is hidden, and its unique values are free, until it is restored."""

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from sqlalchemy import Select, inspect
from sqlmodel import Index, select, text

from kit.database.sessions import WriteSession
from kit.http.problems import found, missing_reference
from kit.models.deletion import Deletable as Deletable
from kit.models.deletion import is_not_deleted as is_not_deleted
from kit.query.list_query import ListQuery
from kit.query.page_selects import Statement
from kit.query.parameters import Parameter
from kit.query.values import YesNo

S = TypeVar("S", bound=Select[*tuple[Any, ...]])
D = TypeVar("D", bound="Deletable")


def unique_if_not_deleted(*fields: str) -> Iterator[Index]:
    """Yield a partial unique index for each field: unique among the rows that are not deleted."""
    condition: Any = text("deleted_at IS NULL")
    for field in fields:
        yield Index(None, field, unique=True, postgresql_where=condition, sqlite_where=condition)


def not_deleted(row: D | None) -> D:
    """Return the row. Raises a 404 if it is None or deleted."""
    return found(row if row is None or row.deleted_at is None else None)


def with_parent_not_deleted(parent: type[Deletable], statement: S) -> S:
    """Return the statement restricted to rows whose parent is not deleted."""
    return statement.join(parent).where(is_not_deleted(parent))


async def refuse_deleted_parents(
    session: WriteSession, parent: type[Deletable], field: str, ids: Collection[Any]
) -> None:
    """Raise a 409 for `field` if one of the parents with these ids does not exist or is deleted."""
    key: Any = inspect(parent).primary_key[0]
    there = set(await session.exec(select(key).where(key.in_(set(ids)), is_not_deleted(parent))))
    if there != set(ids):
        raise missing_reference(field)


class DeletableQuery(ListQuery):
    """A list query for rows that are not deleted; with the parameter `deleted=true`, for deleted ones."""

    extras = (Parameter("deleted", YesNo, "`true`: the deleted rows instead of the others."),)

    def narrowed(self, statement: Statement) -> Statement:
        shown = is_not_deleted(self.model)  # type: ignore[arg-type]  # a table of both kinds
        return super().narrowed(statement).where(~shown if self.given.get("deleted") else shown)

    def permitted(self, row: D | None) -> D:
        """Return the row. Raises a 404 if it is None, or if it is deleted and `deleted=true` was not given."""
        return found(row) if self.given.get("deleted") else not_deleted(row)
