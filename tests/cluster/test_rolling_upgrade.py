"""A rolling upgrade of two services, one after the other, with a migration before: no request fails."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from kit.database import migrations
from tests.cluster.cluster import Cluster
from tests.cluster.counts import check_stored
from tests.cluster.load import loaded
from tests.faults.client import Client
from tests.faults.copies import copy_project
from tests.faults.figures import seen

FIELD = '    motto: str | None = Field(default=None, max_length=100, schema_extra={"examples": ["With a smile"]})\n'
MIGRATION = '''"""heroes have a motto."""

import sqlalchemy as sa
from alembic import op

revision = "0099"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("hero", sa.Column("motto", sa.String(100)))
'''


def newer_version(folder: Path) -> Path:
    """Return a copy of the project in which heroes have one more field, with the migration for it."""
    copy = copy_project(folder)
    hero = copy / "heroes/hero.py"
    hero.write_text(hero.read_text().replace("    power: int = Field(", f"{FIELD}    power: int = Field(", 1))
    (head,) = migrations.heads()
    (copy / "migrations/versions/0099_mottos.py").write_text(MIGRATION.format(head=head))
    return copy


async def test_a_rolling_upgrade_of_two_services_fails_no_request(cluster: Cluster, tmp_path: Path) -> None:
    newer = newer_version(tmp_path)
    front = cluster.places.front
    async with loaded([front], "upgrade", readers=10, writers=5) as load:
        await asyncio.sleep(1)
        await asyncio.to_thread(migrate, newer, cluster.places.by_hosts)
        for number in (1, 2):
            await asyncio.to_thread(cluster.stop, f"service{number}")
            await asyncio.to_thread(cluster.start_service, number, project=newer)
            await asyncio.sleep(1)  # HAProxy notices it
    rows = check_stored(cluster, load)
    seen("rolling upgrade of 2 services", f"{load.reads} reads, {rows} writes, {len(load.failures)} failed")
    assert load.failures == []
    async with Client(front) as client:
        assert "motto" in (await client.send("GET", "/heroes/?limit=1")).json()[0]


def migrate(project: Path, url: str) -> None:
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=project, env=os.environ | {"DATABASE_URL": url}, check=True, capture_output=True)
