"""Unloaded values: columns that a response shows, but that a returned row lacks, are loaded by one SELECT.

After a flush, a row lacks what the database computes: `Computed`, `column_property`, `onupdate` with an SQL expression.
After a rollback or `expire` it lacks everything. An async session cannot load such values when they are read.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import async_object_session
from sqlalchemy.orm import undefer

from kit.models.entities import Entity
from kit.models.reads import Read
from kit.operations.bulk import Outcome

MAX_IDS = 1000
"""The largest number of rows that one SELECT loads: drivers have a limit of parameters."""


async def load_unloaded(result: Any, read: type[Read] | None) -> None:
    """Load what the rows in the result of a handler lack, for a response that shows them by this variant."""
    lacking: defaultdict[type[Entity], list[Any]] = defaultdict(list)
    missing: defaultdict[type[Entity], set[str]] = defaultdict(set)
    for row in rows_in(result):
        if names := unloaded_columns(row, read):
            lacking[type(row)].append(row)
            missing[type(row)].update(names)
    for entity, rows in lacking.items():
        await load_columns(entity, rows, missing[entity])


async def load_columns(entity: type[Entity], rows: list[Any], names: Collection[str]) -> None:
    session: Any = async_object_session(rows[0])
    options = [undefer(getattr(entity, name)) for name in names]
    ident = inspect(entity).primary_key[0]
    for start in range(0, len(rows), MAX_IDS):
        ids = [inspect(row).identity[0] for row in rows[start : start + MAX_IDS]]
        (await session.scalars(select(entity).where(ident.in_(ids)).options(*options))).all()


def rows_in(result: Any) -> Iterator[Entity]:
    """Yield the row, or the rows in a list, in a dictionary, or in lists in a dictionary."""
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


def unloaded_columns(row: Entity, read: type[Read] | None) -> Collection[str]:
    """Return the columns to load: those that the variant shows, and those that were loaded before and have expired."""
    state = inspect(row)
    if not state.persistent:
        return ()
    columns = state.mapper.column_attrs
    shown = [name for name in read.model_fields if name in columns] if read else []
    others = [name for name in state.expired_attributes if name in columns]
    return [name for name in (*shown, *others) if name not in state.dict]
