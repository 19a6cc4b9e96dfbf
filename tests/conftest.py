"""Fixtures of the application: on both engines, each with a database of its own that is empty when a test begins."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlmodel import SQLModel

from kit import Database, LoginLimits, Service
from main import create_app
from settings import Settings
from tests import engines
from tests.engines import MEMORY, Client, on_postgresql, on_sqlite, url_of
from tests.people import FAST_PATH, Person, client_of, join, opened, production

__all__ = ["MEMORY", "Client", "on_postgresql", "on_sqlite", "settings_for", "url_of"]
anyio_backend, engine, log_file = engines.anyio_backend, engines.engine, engines.log_file
new_database, new_postgres, postgres_server = engines.new_database, engines.new_postgres, engines.postgres_server


def settings_for(url: str, **others: Any) -> Settings:
    """Settings of the tests alone: neither `.env` is read, nor the environment but for `FAST_PATH`."""
    return Settings.model_validate({"database_url": url, "demo_data": False, "fast_path": FAST_PATH, **others})


@pytest.fixture(scope="session")
async def app(new_database: Any) -> AsyncIterator[Service]:
    """The application as `make run` starts it, once for all tests of an engine."""
    app = create_app(settings_for(await new_database()))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(app: Service) -> Database:
    """The application's database, without rows."""
    await empty(app.runtime.database)
    return app.runtime.database


async def empty(database: Database) -> None:
    await engines.empty(database, SQLModel.metadata.sorted_tables)


@pytest.fixture
async def client(app: Service, database: Database) -> AsyncIterator[Client]:
    """A client of the application in this process, on a database without rows."""
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session")
async def production_app(new_database: Any) -> AsyncIterator[Service]:
    """The application as in production, where everybody is asked who they are; once for all tests of an engine."""
    async with opened(production(await new_database())) as app:
        yield app


@pytest.fixture
async def guarded(production_app: Service) -> Service:
    """The same, without rows, and without a failed login."""
    await empty(production_app.runtime.database)
    production_app.runtime.login_limits = LoginLimits("memory://", per_account=10, per_address=100, window=300)
    return production_app


@pytest.fixture
async def nobody(guarded: Service) -> AsyncIterator[Client]:
    """A client without a token."""
    async with client_of(guarded) as client:
        yield client


@pytest.fixture
async def boss(guarded: Service) -> AsyncIterator[Person]:
    """A superuser."""
    person = await join(guarded, username="boss", is_superuser=True)
    async with person.client:
        yield person


@pytest.fixture
async def natasha(guarded: Service) -> AsyncIterator[Person]:
    """A member."""
    person = await join(guarded, username="natasha")
    async with person.client:
        yield person


@pytest.fixture
async def steve(guarded: Service) -> AsyncIterator[Person]:
    """Another member."""
    person = await join(guarded, username="steve")
    async with person.client:
        yield person
