"""Migrations: the schema is brought up to date by Alembic, once, also when several processes start together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection

from kit.database.databases import Database
from kit.database.errors import FAILURES, first_line

log = logging.getLogger("kit")
ROOT = Path(__file__).parents[2]


def configuration(url: URL | None = None, **options: Any) -> Config:
    config = Config(toml_file=ROOT / "pyproject.toml", **options)
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = url
    return config


@cache
def heads() -> set[str]:
    return set(ScriptDirectory.from_config(configuration()).get_heads())


def is_current(connection: Connection) -> bool:
    return set(MigrationContext.configure(connection).get_current_heads()) == heads()


async def upgrade(url: URL, revision: str = "head") -> None:
    """Apply what is missing. Alembic has a loop of its own, hence the thread."""
    await asyncio.to_thread(command.upgrade, configuration(url), revision)


async def downgrade(url: URL, revision: str = "base") -> None:
    await asyncio.to_thread(command.downgrade, configuration(url), revision)


async def prepare(database: Database, fill: Callable[[Database], Awaitable[None]] | None) -> None:
    """Bring the database up to date. Without one the service starts all the same, and says that it is not ready."""
    try:
        await upgrade(database.url)
        if fill is not None:
            await fill(database)
    except FAILURES as failure:
        log.error("The database cannot be prepared: %s", first_line(failure))  # noqa: TRY400  no traceback
