"""`make migration` on tables with rows: it fills, renames, counts what it loses, and keeps what it has tried."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import URL, Column, Integer, Table, text
from sqlmodel import SQLModel

from kit import Database
from kit.database import migrations, new_migration
from tests.application import settings_for
from tests.engines import on_postgresql
from tests.test_adding_a_resource import BIN, copied

ROWS = """
INSERT INTO team VALUES (1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 1, 'Avengers', 'New York'),
    (1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 2, 'Preventers', 'Sharp Tower')
"""
BEFORE = "class TeamBase(SQLModel):\n"


def plain(url: URL) -> str:
    """The URL as a setting."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)


@dataclass
class Project:
    """A copy of the project, and a database with two teams."""

    folder: Path
    url: URL

    def change(self, old: str, new: str) -> None:
        for file in (self.folder / "heroes/team.py", self.folder / "demo.py"):
            file.write_text(file.read_text().replace(old, new))

    def make(self, target: str, *variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": plain(self.url)}
        arguments = ["make", target, f"BIN={BIN}", "--assume-old=.venv/dev", "--assume-old=.venv/run", *variables]
        return subprocess.run(arguments, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def files(self) -> dict[str, str]:
        """The migrations that were written, by the ends of their names."""
        folder = self.folder / "migrations/versions"
        return {file.name.partition("_")[2]: file.read_text() for file in folder.iterdir() if "_change" in file.name}

    async def value(self, sql: str) -> Any:
        database = Database(self.url)
        async with database.connect() as connection:
            value = await connection.scalar(text(sql))
        await database.dispose()
        return value


@pytest.fixture
async def project(new_database: Any, tmp_path: Path) -> Project:
    settings = settings_for(await new_database())
    await migrations.upgrade(settings.database)
    database = Database(settings.database)
    async with database.writer.begin() as connection:
        await connection.execute(text(ROWS))
    await database.dispose()
    return Project(copied(tmp_path / "copy"), settings.database)


async def test_a_field_is_renamed_and_another_is_filled(project: Project) -> None:
    project.change("headquarters", "house")
    project.change(BEFORE, f"{BEFORE}    motto: Name = Field(default='a:b', max_length=20)\n")
    written = project.make("migration", "RENAME=team.headquarters:house")
    assert written.returncode == 0, written.stdout + written.stderr
    assert "differs" not in written.stdout
    assert project.make("migrate").returncode == 0
    assert await project.value("SELECT house FROM team WHERE id = 2") == "Sharp Tower"
    assert await project.value("SELECT motto FROM team WHERE id = 2") == "a:b"


async def test_a_required_field_without_a_default_is_asked_for_one(project: Project) -> None:
    project.change(BEFORE, f"{BEFORE}    rank: int\n")
    project.change("TeamCreate(name", "TeamCreate(rank=1, name")
    refused = project.make("migration")
    assert "team.rank is NOT NULL" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert project.files() == {}


async def test_what_a_migration_loses_is_counted_and_a_rename_is_offered(project: Project) -> None:
    project.change("headquarters", "house")
    project.change("house: Name", "house: Name | None")
    project.change("class TeamRead(Stamped, TeamBase", "class TeamRead(TeamBase")
    project.change('description="Unique.", ', "default=None, ")
    written = project.make("migration")
    assert "RENAME=team.headquarters:house" in written.stdout + written.stderr
    assert "Loses team.headquarters of 2 rows." in written.stdout


async def test_a_migration_that_fails_on_the_rows_is_put_aside(project: Project) -> None:
    project.change(BEFORE, f"{BEFORE}    motto: Name = Field(default='one', max_length=20)\n")
    project.change('UniqueConstraint("name"),', 'UniqueConstraint("name"), UniqueConstraint("motto"),')
    before = await project.value("SELECT version_num FROM alembic_version")
    refused = project.make("migration")
    assert refused.returncode != 0
    assert "The migration fails" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(project.files()) == ["change.refused"]
    assert await project.value("SELECT version_num FROM alembic_version") == before


@on_postgresql
async def test_a_trial_leaves_nothing_in_the_database(project: Project) -> None:
    project.change("max_length=200", "max_length=300")
    project.change("BETWEEN 1 AND 200", "BETWEEN 1 AND 300")
    assert project.make("migration").returncode == 0
    assert await project.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'scratch%'") == 0
    assert await project.value("SELECT count(*) FROM team") == 2


@pytest.fixture
def stranger() -> Iterator[None]:
    """A table that no migration makes."""
    table = Table("stranger", SQLModel.metadata, Column("id", Integer, primary_key=True))
    yield
    SQLModel.metadata.remove(table)


@pytest.fixture
def versions(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of migrations, if they are written in this process."""
    monkeypatch.setattr(migrations, "ROOT", project.folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("DATABASE_URL", plain(project.url))
    return project.folder / "migrations/versions"


def the_only(folder: Path, pattern: str) -> str:
    """The text of the only file in the folder with such a name."""
    (file,) = folder.glob(pattern)
    return file.read_text()


async def test_what_is_written_has_been_tried(
    versions: Path, stranger: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(new_migration.main, "strangers") is None
    assert "Written, applied to a copy, undone, and applied again" in capsys.readouterr().out
    assert 'op.create_table(\n        "stranger"' in the_only(versions, "*_strangers.py")


async def test_what_differs_from_the_models_afterwards_is_printed(
    versions: Path, stranger: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(new_migration, "differences", lambda _: ["a column"])
    assert await asyncio.to_thread(new_migration.main, "strangers") is None
    assert "this differs from the models: a column" in capsys.readouterr().out


async def test_a_migration_that_cannot_be_undone_is_put_aside(versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no way back")

    monkeypatch.setattr(command, "downgrade", fail)
    refused = await asyncio.to_thread(new_migration.main, "empty")
    assert refused is not None
    assert refused.endswith("_empty.refused: no way back")
    assert "down_revision" in the_only(versions, "*_empty.*")


async def test_where_the_rows_cannot_be_copied_a_migration_is_kept_untried(
    versions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(new_migration, "copy_rows", fail)
    assert await asyncio.to_thread(new_migration.main, "empty") is None
    assert "It was not tried on sqlite: not allowed" in capsys.readouterr().out


async def test_a_rename_that_cannot_be_read_is_one_sentence(versions: Path) -> None:
    said = await asyncio.to_thread(new_migration.main, "empty", "age->years")
    assert said == "RENAME is 'age->years', but should be as in hero.age:years, or hero:champion."


async def test_a_table_is_renamed(versions: Path) -> None:
    await asyncio.to_thread(new_migration.main, "away", "team:crew")
    assert 'op.rename_table("team", "crew")' in the_only(versions, "*_away.*")
