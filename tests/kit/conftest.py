"""What goes wrong in the middle of a COMMIT."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event

from kit.database.databases import Database
from tests.probe import at_commit, execute


@pytest.fixture
async def deferred(database: Database) -> AsyncIterator[None]:
    """Foreign keys are checked at COMMIT only."""
    if database.is_sqlite:
        event.listen(database.writer.sync_engine, "checkout", defer_foreign_keys)
        yield
        event.remove(database.writer.sync_engine, "checkout", defer_foreign_keys)
        return
    await execute(database, "ALTER TABLE hero ALTER CONSTRAINT fk_hero_team_id DEFERRABLE INITIALLY DEFERRED")
    yield
    await execute(database, "ALTER TABLE hero ALTER CONSTRAINT fk_hero_team_id NOT DEFERRABLE")


def defer_foreign_keys(connection: Any, *_: object) -> None:
    connection.cursor().execute("PRAGMA defer_foreign_keys = ON")


@pytest.fixture
async def dying(database: Database) -> AsyncIterator[None]:
    """The connection is cut in the middle of every COMMIT that inserts a hero."""
    async with at_commit(database, "pg_terminate_backend(pg_backend_pid())"):
        yield
