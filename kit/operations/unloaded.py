"""Unloaded values: loads the columns and related rows that a response contains and the returned rows lack.

After a flush, a row lacks the columns that the database computes: `Computed`, `column_property`, `onupdate` with an SQL
expression. After a rollback or `expire` it lacks all of them. An async session cannot load them on access.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession, async_object_session

from kit.models.entities import Entity
from kit.models.reads import Read
from kit.operations.bulk import Outcome
from kit.query.shown_values import NEVER_LOADED, load_attributes, may_load


async def load_unloaded(result: Any, read: type[Read] | None, session: AsyncSession) -> None:
    """Load the unloaded values of the rows in the result of a handler that are part of the read variant `read`.

    `session` is that of the request. Rows of another session are loaded by their own.
    """
    lacking: defaultdict[type[Entity], list[Any]] = defaultdict(list)
    missing: defaultdict[type[Entity], set[str]] = defaultdict(set)
    for row in rows_in(result):
        if (names := unloaded_attributes(row, read)) and may_load(session, row):
            lacking[type(row)].append(row)
            missing[type(row)].update(names)
    for entity, rows in lacking.items():
        await load_attributes(async_object_session(rows[0]) or session, entity, rows, missing[entity])


def rows_in(result: Any) -> Iterator[Entity]:
    """Yield the rows in a result: a row, a list of rows, or a dictionary of rows or lists of rows."""
    if isinstance(result, Entity):
        yield result
    elif isinstance(result, list | tuple):
        yield from (row for row in result if isinstance(row, Entity))
    elif isinstance(result, dict):
        for part in result.values():
            if not isinstance(part, dict):
                yield from rows_in(part)
    elif isinstance(result, Outcome):
        yield from rows_in(list(result.created))


def unloaded_attributes(row: Entity, read: type[Read] | None) -> Collection[str]:
    """Return what to load: what the variant shows, and the columns that were loaded before and have expired."""
    state = inspect(row)
    columns = state.mapper.column_attrs
    loadable = {*columns.keys(), *(each.key for each in state.mapper.relationships if each.lazy not in NEVER_LOADED)}
    shown = loadable.intersection(read.model_fields if read else ())
    others = [name for name in state.expired_attributes if name in columns]
    return [name for name in (*shown, *others) if name not in state.dict]
