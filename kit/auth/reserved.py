"""Reserved fields, which only superusers may set: an entity declares them in `reserved` with their initial values."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, inspect
from sqlalchemy.orm import Session

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
    """Do `keep_reserved` for each row of an entity among these rows."""
    for row in rows:
        if isinstance(row, Entity):
            keep_reserved(row, session)


def reserved_columns(entity: type[Entity]) -> list[ColumnElement[Any]]:
    return [inspect(entity).columns[name] for name in entity.reserved]


def reserved_for_superusers(names: Iterable[str]) -> Problem:
    return forbidden(f"Only superusers may set {', '.join(sorted(names))}.")
