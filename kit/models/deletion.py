"""Soft deletion: the base class with the column `deleted_at`, and the condition for rows that are not deleted."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import Field, SQLModel, col


class Deletable(SQLModel):
    """Base class of tables whose rows can be deleted and restored. `deleted_at` is None for a row that exists."""

    deleted_at: datetime | None = Field(default=None, index=True)


def is_not_deleted(entity: type[Deletable]) -> ColumnElement[bool]:
    return col(entity.deleted_at).is_(None)


def visible(entity: type[object]) -> Sequence[ColumnElement[bool]]:
    """Return the WHERE conditions for embedded rows: that they are not deleted; none without soft deletion."""
    return [is_not_deleted(entity)] if issubclass(entity, Deletable) else []
