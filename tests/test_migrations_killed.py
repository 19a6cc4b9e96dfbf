"""Migrations interrupted by SIGKILL: no partial change remains, and the next `make migrate` succeeds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from kit import Database
from kit.database import migrations
from settings import Settings
from tests.application import settings_for
from tests.test_adding_a_resource import copied

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

DEADLY = '''"""dies."""

import os
import signal

import sqlalchemy as sa
from alembic import op

revision = "0099"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
    with op.batch_alter_table("team") as batch_op:
        batch_op.alter_column("name", type_=sa.String(300), existing_type=sa.String(100))
    op.execute("UPDATE team SET name = 'half'")
    if "DIES" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    op.create_table("whole", sa.Column("id", sa.Integer(), primary_key=True))
'''
TEAM = "INSERT INTO team VALUES (1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', 1, 'Avengers', 'New York')"


@pytest.fixture
async def settings(new_database: Any) -> Settings:
    """Provide settings with a database that has one row."""
    settings = settings_for(await new_database())
    await migrations.upgrade(settings.database)
    database = Database(settings.database)
    async with database.writer.begin() as connection:
        await connection.execute(text(TEAM))
    await database.dispose()
    return settings


async def state(settings: Settings) -> tuple[set[str], str, str]:
    """Return the new tables, the name of the team, and the revision."""
    database = Database(settings.database)
    async with database.connect() as connection:
        names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        team = await connection.scalar(text("SELECT name FROM team"))
        revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    await database.dispose()
    return names & {"half", "whole", "_alembic_tmp_team"}, str(team), str(revision)


def migrate(project: Path, settings: Settings, **environment: str) -> int:
    environment |= {"DATABASE_URL": settings.database_url.get_secret_value(), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    return subprocess.run(command, cwd=project, env=environment, check=False).returncode


async def test_a_killed_migration_leaves_nothing_and_the_next_succeeds(settings: Settings, tmp_path: Path) -> None:
    project = copied(tmp_path / "copy")
    (head,) = migrations.heads()
    (project / "migrations/versions/0099_dies.py").write_text(DEADLY.format(head=head))
    assert migrate(project, settings, DIES="yes") == -9
    assert await state(settings) == (set(), "Avengers", head)
    assert migrate(project, settings) == 0
    assert await state(settings) == ({"half", "whole"}, "half", "0099")
