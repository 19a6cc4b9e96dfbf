"""A new member of an enum and a longer text, by `make migration`: up, down and up with rows, and nothing is left."""

import re
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import Database
from tests.test_new_migration import Project
from tests.test_new_migration import project as project  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

INSERT = """
INSERT INTO letter (id, title, status, version, created_at, updated_at)
VALUES (:id, :title, :status, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')
"""
OBJECTS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
    "postgresql": """
        SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint UNION ALL SELECT indexdef FROM pg_indexes
        UNION ALL SELECT typname FROM pg_type WHERE typnamespace = current_schema()::regnamespace
        UNION ALL SELECT attrelid::regclass || attname || atttypmod FROM pg_attribute
        WHERE attrelid::regclass::text = 'letter' AND attnum > 0 ORDER BY 1
    """,
}
"""Queries for the definitions of everything in a database."""
UP_DOWN_UP = """
from alembic import command
from kit.database.migrations import configuration
for step, revision in ((command.upgrade, "head"), (command.downgrade, "-1"), (command.upgrade, "head")):
    step(configuration(), revision)
command.check(configuration())
"""


async def insert(place: Project, **values: Any) -> None:
    database = Database(place.url)
    try:
        async with database.writer.begin() as connection:
            await connection.execute(text(INSERT), values)
    finally:
        await database.dispose()


async def objects(place: Project) -> list[str]:
    database = Database(place.url)
    async with database.connect() as connection:
        found = (await connection.scalars(text(OBJECTS[place.url.get_backend_name()]))).all()
    await database.dispose()
    return [re.sub(r'[\s"]+', " ", str(each)) for each in found]


def done(command: subprocess.CompletedProcess[str]) -> None:
    assert command.returncode == 0, command.stdout + command.stderr
    assert "differs" not in command.stdout


async def test_a_changed_check_goes_up_down_and_up(project: Project) -> None:
    done(project.make("resource", "NAME=letter", "FIELDS=title:str status:draft|sent"))
    done(project.make("migration", "MESSAGE=letters"))
    done(project.make("migrate"))
    await insert(project, id=1, title="x" * 100, status="draft")
    before = await objects(project)
    file = project.folder / "heroes/letter.py"
    changed = file.read_text().replace('    SENT = "sent"\n', '    SENT = "sent"\n    LOST = "lost"\n')
    file.write_text(changed.replace("max_length=100", "max_length=300"))
    done(project.make("migration"))
    done(project.run(sys.executable, "-c", UP_DOWN_UP))
    above = await objects(project)
    await insert(project, id=2, title="y" * 250, status="lost")
    assert project.run(sys.executable, "-m", "alembic", "downgrade", "-1").returncode != 0
    assert await objects(project) == above
    assert await project.value("DELETE FROM letter WHERE id = 2 RETURNING id") == 2
    done(project.run(sys.executable, "-m", "alembic", "downgrade", "-1"))
    assert await objects(project) == before
    for wrong in ({"title": "y" * 250, "status": "sent"}, {"title": "y", "status": "lost"}):
        with pytest.raises(DBAPIError):
            await insert(project, id=3, **wrong)
