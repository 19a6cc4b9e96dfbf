"""Reserved fields, which only superusers may set: an entity declares them in `reserved` with their initial values."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, inspect
from sqlalchemy.orm import RelationshipDirection, Session

from kit.auth.permissions import forbidden
from kit.http.problems import Problem
from kit.models.entities import Entity


def keep_reserved(row: Entity, session: Session | None = None) -> None:
    """Reset the reserved fields of a new row to their initial values, and of a changed row to the stored values."""
    state = inspect(row)
    for name, first in row.reserved.items():
        history = state.attrs[name].history
        if state.key is None:
            setattr(row, name, first)
        elif history.deleted:
            setattr(row, name, history.deleted[0])
        elif history.added and session is not None:  # set before it was loaded
            session.refresh(row, [name])


def keep_reserved_of(session: Session, rows: Iterable[object]) -> None:
    """Do `keep_reserved` for each row of an entity among these rows, and undo changes of its reserved relationships."""
    for row in rows:
        if isinstance(row, Entity):
            keep_reserved(row, session)
            keep_relationships(row, session)


def keep_relationships(row: Entity, session: Session) -> None:
    """Undo pending changes of relationships that would set reserved foreign keys: empty for a new row."""
    state = inspect(row)
    for name in reserved_relationships(type(row)):
        if not state.attrs[name].history.has_changes():
            continue
        if state.key is None:
            setattr(row, name, None)
        else:
            session.expire(row, [name])


@cache
def reserved_relationships(entity: type[Entity]) -> list[str]:
    """Return the names of the relationships to one row whose foreign key is reserved."""
    columns = set(reserved_columns(entity))
    single = [each for each in inspect(entity).relationships if each.direction is RelationshipDirection.MANYTOONE]
    return [each.key for each in single if columns.intersection(each.local_columns)]


def reserved_columns(entity: type[Entity]) -> list[ColumnElement[Any]]:
    return [inspect(entity).columns[name] for name in entity.reserved]


def reserved_for_superusers(names: Iterable[str]) -> Problem:
    return forbidden(f"Only superusers may set {', '.join(sorted(names))}.")
