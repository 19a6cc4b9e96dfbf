"""Soft deletion: the column, and the condition for rows that are not deleted."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import Field, SQLModel, col


class Deletable(SQLModel):
    """A row that can be deleted and restored."""

    deleted_at: datetime | None = Field(default=None, index=True)


def is_not_deleted(entity: type[Deletable]) -> ColumnElement[bool]:
    return col(entity.deleted_at).is_(None)


def visible(entity: type[object]) -> Sequence[ColumnElement[bool]]:
    """Return the condition for rows that are embedded in others; none if they cannot be deleted softly."""
    return [is_not_deleted(entity)] if issubclass(entity, Deletable) else []
