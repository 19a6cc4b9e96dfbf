"""Is the schema up to date, and how does it get there: Alembic, once, however many ask at the same time."""

import asyncio
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection

ROOT = Path(__file__).parents[2]


def configuration(url: URL | None = None) -> Config:
    config = Config(toml_file=ROOT / "pyproject.toml")
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
