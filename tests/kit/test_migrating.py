"""Migrations of a database that cannot be used end with a sentence; a migration that fails shows its traceback."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from kit import Database
from kit.database import migration_check, tidying
from kit.database.errors import Unreachable
from kit.database.migrating import UnusableError, connected, engine_for, may_be_usable_later

pytestmark = pytest.mark.no_fast_path


@pytest.fixture
def engine_of_file(tmp_path: Path) -> AsyncEngine:
    return engine_for(make_url(f"sqlite+aiosqlite:///{tmp_path}/a.db"))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:////nowhere/a.db",
        "postgresql+asyncpg://a:hidden@127.0.0.1:1/b",
        "postgresql+asyncpg://a:hidden@nowhere.invalid/b?statement_cache_size=0",
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_in_a_sentence(url: str) -> None:
    with pytest.raises(UnusableError, match=r"^The database cannot be used: ") as raised:
        async with connected(engine_for(make_url(url))):
            pass
    assert "hidden" not in str(raised.value)
    assert may_be_usable_later(raised.value)


async def test_a_database_that_is_lost_during_a_migration_is_named_too(engine_of_file: AsyncEngine) -> None:
    with pytest.raises(UnusableError, match="gone"):
        async with connected(engine_of_file):
            raise Unreachable("gone")


async def test_a_service_connects_to_a_new_file_while_another_process_migrates_it(engine_of_file: AsyncEngine) -> None:
    database = Database(engine_of_file.url.set(drivername="sqlite+aiosqlite"))
    async with connected(engine_of_file) as connection, connection.begin():
        await connection.execute(text("CREATE TABLE shelf (id INTEGER)"))
        async with database.writer.connect() as other:
            await other.get_raw_connection()
    await database.dispose()


async def test_like_distinguishes_upper_and_lower_case_in_migrations_too(engine_of_file: AsyncEngine) -> None:
    async with connected(engine_of_file) as connection:
        assert not await connection.scalar(text("SELECT 'A' LIKE 'a'"))


async def test_a_wrong_statement_of_a_migration_keeps_its_traceback(engine_of_file: AsyncEngine) -> None:
    with pytest.raises(OperationalError, match="syntax error") as raised:
        async with connected(engine_of_file) as connection:
            await connection.execute(text("SELCT 1"))
    assert not may_be_usable_later(raised.value)


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [(["first"], ["revision", "tidy revision", "upgrade", "check"]), ([], ["upgrade", "check"])],
)
def test_migrations_are_checked_by_one_process(
    arguments: list[str], commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def note(name: str) -> SimpleNamespace:
        done.append(name)
        return SimpleNamespace(path=name)

    for name in ("revision", "upgrade", "check"):
        monkeypatch.setattr(command, name, lambda *_, name=name, **__: note(name))
    monkeypatch.setattr(tidying, "tidy", lambda path: done.append(f"tidy {path}"))
    monkeypatch.setattr(sys, "argv", ["migration_check", *arguments])
    runpy.run_path(str(migration_check.__file__), run_name="__main__")
    assert done == commands
