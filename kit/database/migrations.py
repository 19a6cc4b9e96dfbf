"""Migrations: Alembic brings the schema up to date at start. Several processes may start at the same time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Table

from kit.database.absent import notice_absent, still_absent
from kit.database.databases import Database
from kit.database.error_responses import log_once
from kit.database.errors import FAILURES, first_line
from kit.database.migrating import may_be_usable_later

log = logging.getLogger("kit")
BESIDE = Path(__file__).parents[2]
ROOT = BESIDE if (BESIDE / "migrations").is_dir() else Path.cwd()
"""The folder with `migrations`: the parent of the kit, or the working directory if the kit is an installed library."""
RETRY_SECONDS = 1.0
"""The pause between two attempts to prepare a database that is unavailable."""


def configuration(url: URL | None = None, **options: Any) -> Config:
    config = Config(toml_file=ROOT / "pyproject.toml", **options)
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = url
    return config


@cache
def script() -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration())


@cache
def heads() -> frozenset[str]:
    """Return the latest revisions in the folder `migrations`."""
    return frozenset(script().get_heads())


@dataclass(frozen=True)
class State:
    """The state of a database relative to the code. In a rolling deployment, the database is ahead of the old code."""

    missing: tuple[str, ...] = ()
    """The file names of the migrations that were not applied to the database, oldest first, without `.py`."""
    unknown: tuple[str, ...] = ()
    """The revisions of the database that this code does not have: newer code has migrated it."""
    absent: tuple[str, ...] = ()
    """The tables and columns of the models that are missing, although the database has the latest revision."""

    @property
    def message(self) -> str:
        """The state as a sentence, with the command to run; empty if the database is up to date."""
        if self.unknown:
            return (
                f"The database is at {', '.join(self.unknown)}, which this code does not know: it is ahead of the code."
            )
        if self.missing:
            return f"The database is not migrated: it lacks {', '.join(self.missing)}; run `make migrate`."
        if self.absent:
            return f"The database lacks {', '.join(self.absent)}, which no migration adds: run `make migration`."
        return ""


def state_of(connection: Connection, tables: Sequence[Table] = ()) -> State:
    """Compare the revisions of a database with those in the code; if they are equal, also the columns of `tables`."""
    current = MigrationContext.configure(connection).get_current_heads()
    if heads() == set(current):
        if tables:
            notice_absent(connection, tables)
        return State(absent=tuple(still_absent(connection)))
    known = {revision.revision: revision for revision in script().walk_revisions()}
    unknown = tuple(sorted(set(current) - known.keys()))
    if unknown:
        return State(unknown=unknown)
    applied = {done.revision for head in current for done in script().iterate_revisions(head, "base")}
    return State(tuple(Path(known[name].path).stem for name in reversed(known) if name not in applied))


async def upgrade(url: URL, revision: str = "head") -> None:
    """Apply the missing migrations. It runs in a thread, because Alembic's environment has its own event loop."""
    await asyncio.to_thread(command.upgrade, configuration(url), revision)


async def downgrade(url: URL, revision: str = "base") -> None:
    await asyncio.to_thread(command.downgrade, configuration(url), revision)


Fill = Callable[[Database], Awaitable[None]]


async def prepare(database: Database, fill: Fill | None, tables: Sequence[Table] = ()) -> asyncio.Task[None] | None:
    """Apply the missing migrations, then call `fill`. Failures are logged: the service starts without being ready.

    If the database then lacks one of `tables`, or one of their columns, this is logged, and `fill` is not called.
    While the database is unavailable, a task tries again each `RETRY_SECONDS`. Returns this task, or None.
    """
    if await _prepare_once(database, fill, tables):
        return None
    return asyncio.create_task(_prepare_later(database, fill, tables))


async def _prepare_later(database: Database, fill: Fill | None, tables: Sequence[Table]) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        if await _prepare_once(database, fill, tables):
            return


async def _prepare_once(database: Database, fill: Fill | None, tables: Sequence[Table]) -> bool:
    """Prepare the database once. Returns False if it is unavailable, so that another attempt may succeed."""
    try:
        state = await read_state(database)
        if state.unknown:
            log.warning("%s", state.message)
            return True
        await upgrade(database.url)
        state = await read_state(database, tables)
        if state.message:
            log.warning("%s", state.message)
        elif fill is not None:
            await fill(database)
    except (CommandError, *FAILURES) as failure:
        if may_be_usable_later(failure):
            log_once(failure, "The database cannot be prepared yet: %s")
            return False
        log.error("The database cannot be prepared: %s", first_line(failure))  # noqa: TRY400  no traceback
    return True


async def report(database: Database, tables: Sequence[Table] = ()) -> None:
    """Log whether the database is behind or ahead of this code, for a service that does not migrate it itself."""
    try:
        state = await read_state(database, tables)
    except FAILURES as failure:
        log.error("The database cannot be reached: %s", first_line(failure))  # noqa: TRY400  no traceback
        return
    if state.message:
        log.log(logging.ERROR if state.missing else logging.WARNING, "%s", state.message)


async def read_state(database: Database, tables: Sequence[Table] = ()) -> State:
    """Compare the database with the code, as `state_of`. Raises one of `FAILURES` if it is unavailable."""
    async with database.connect() as connection:
        return await connection.run_sync(state_of, tables)
