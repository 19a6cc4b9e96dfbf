"""`make shell`, `db`, `seed`, `backup` and `restore` on this service."""

import asyncio
import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

import commands
from kit import Service
from kit.database.migrations import upgrade
from kit.database.poolers import is_pooled
from settings import Settings
from tests import engines
from tests.application import KEY, settings_for
from tests.contract.resource import resources_of
from tests.engines import on_sqlite
from tests.hashing import cheapen

postgres_programs = engines.postgres_programs


@pytest.fixture(autouse=True)
def logged() -> Iterator[None]:
    """Let tests after a command log again."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
async def url(new_database: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Provide a migrated database, set as `DATABASE_URL`."""
    url = str(await new_database())
    await upgrade(settings_for(url).database)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", url)
    cheapen(monkeypatch)
    return url


async def run(*arguments: str) -> str | None:
    """Run a command in a thread, as it has its own event loop."""
    return await asyncio.to_thread(commands.run, *arguments)


async def test_every_resource_gets_rows(url: str, app: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("seed", "30") is None
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    printed = {name: int(number) for number, name in lines}
    assert {resource.name for resource in resources_of(app) if resource.bulk} == set(printed)
    assert printed["users"] == 30
    assert min(printed.values()) > 0


@pytest.mark.usefixtures("postgres_programs")
async def test_a_backup_is_restored(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("seed", "5") is None
    if is_pooled(make_url(url)):
        assert "needs the URL of PostgreSQL itself" in str(await run("backup", str(tmp_path / "file")))
        return
    assert await run("backup", str(tmp_path / "file")) is None
    assert await run("restore", str(tmp_path / "file")) is None
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("Restored and compared: ")
    assert said[-2].partition(" has ")[2].rstrip(".") == said[-1].partition(": ")[2].rstrip(".")


@on_sqlite
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Write one of shell, db, seed, backup, restore."),
        (("seed", "many"), "ROWS=many is not a number of rows: write ROWS=1000."),
        (("backup",), "Write the file, as in FILE=backup.db."),
        (("restore", "/none"), "There is no file /none."),
        (("seed", "9" * 5000), f"ROWS={'9' * 5000} is not a number of rows: write ROWS=1000."),
    ],
)
async def test_a_command_that_cannot_be_carried_out_says_why(url: str, arguments: tuple[str, ...], says: str) -> None:
    assert await run(*arguments) == says


@on_sqlite
async def test_no_rows_are_made_up_in_production(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", KEY)
    assert "in development only" in str(await run("seed", "5"))


@on_sqlite
async def test_the_prompt_has_the_tables_and_the_client_the_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(commands, "run_shell", lambda database, names: seen.append((database, set(names))))
    monkeypatch.setattr(commands, "open_client", seen.append)
    assert [await run("shell"), await run("db")] == [None, None]
    assert {"User", "select", "func"} <= seen[0][1]
    assert seen[0][0] == seen[1]


def test_the_program_ends_with_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["commands.py"])
    with pytest.raises(SystemExit, match="Write one of shell, db"):
        runpy.run_path(commands.__file__, run_name="__main__")
