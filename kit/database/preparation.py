"""Preparation: a lazy import of `kit.database.migrations`, for the start of the service and for health checks.

Importing Alembic takes as long as importing FastAPI. A program that imports the application without serving it does
not wait for it.
"""

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table

from kit.database.databases import Database

if TYPE_CHECKING:
    from kit.database.migrations import Fill, State


async def prepare(database: Database, fill: "Fill | None", tables: Sequence[Table] = ()) -> asyncio.Task[None] | None:
    """Apply the missing migrations, then call `fill`, as `kit.database.migrations.prepare` does."""
    task: asyncio.Task[None] | None = await _migrations().prepare(database, fill, tables)
    return task


async def report(database: Database, tables: Sequence[Table] = ()) -> None:
    """Log whether the database is behind or ahead of this code."""
    await _migrations().report(database, tables)


async def read_state(database: Database) -> "State":
    """Return the state of the database relative to the code."""
    state: State = await _migrations().read_state(database)
    return state


def _migrations() -> Any:
    return import_module("kit.database.migrations")
