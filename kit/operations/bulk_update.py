"""Bulk update: makes the same changes to many rows by one UPDATE, to all of them or none."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import JSON, ColumnElement, Text, Update, cast, false, literal, or_, update
from sqlmodel import col, select

from kit.database.errors import FAILURES
from kit.database.sessions import WriteSession
from kit.http.problems import error, not_found
from kit.models.entities import Entity
from kit.operations.bulk import MAX_ELEMENTS
from kit.operations.creation import problem_of_element, within

Ids = Annotated[list[UUID], Field(min_length=1, max_length=MAX_ELEMENTS)]


class Updated(BaseModel):
    """The number of changed rows."""

    updated: int


async def change_many(
    session: WriteSession,
    entity: type[Entity],
    ids: Sequence[Any],
    changes: Mapping[str, Any],
    *conditions: ColumnElement[bool],
) -> Updated:
    """Update the rows with these ids that satisfy all `conditions`: set `changes`, and increment the versions.

    Returns the number of rows. It includes those that have the new values already, whose version stays the same. If a
    row is missing, nothing is changed, and a 404 points at its id.
    """
    existing_ids = (
        select(entity.id).where(col(entity.id).in_(ids), *conditions).order_by(col(entity.id)).with_for_update()
    )
    existing = set(await session.exec(existing_ids))
    missing = [index for index, key in enumerate(ids) if key not in existing]
    if missing:
        problem = not_found()
        problem.extra["errors"] = [error("body", f"#/ids/{index}", problem.detail, problem.kind) for index in missing]
        raise problem
    try:
        await session.exec(_update_of(entity, existing, changes))
    except FAILURES as failure:
        raise within(problem_of_element(failure), "changes") from failure
    return Updated(updated=len(existing))


def _update_of(entity: type[Entity], ids: Collection[Any], changes: Mapping[str, Any]) -> Update:
    differs = or_(false(), *(_differs(getattr(entity, name), value) for name, value in changes.items()))
    return update(entity).where(col(entity.id).in_(ids), differs).values(**changes, version=entity.version + 1)


def _differs(column: Any, value: Any) -> ColumnElement[bool]:
    """Return the SQL condition that a column has another value. JSON is compared as text, as PostgreSQL requires."""
    if isinstance(getattr(column.type, "impl_instance", column.type), JSON):
        column, value = cast(column, Text), cast(literal(value, column.type), Text)
    condition: ColumnElement[bool] = column.is_distinct_from(value)
    return condition
