"""Fixtures of the application: on both engines, each with a separate database that is empty when a test begins.

A conftest or a test module imports a fixture by assignment: `client = application.client`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from sqlmodel import SQLModel

import main
from kit import Database, Service
from kit.database.migrations import upgrade
from main import create_app
from settings import Settings
from tests import engines
from tests.clients import client_of
from tests.engines import Client
from tests.hashing import cheapen
from tests.waiting import TIMEOUT_SECONDS

KEY = "0123456789abcdef0123456789abcdef"
"""The secret that signs the tokens of the tests."""
FAST_PATH = find_spec("kit.fast") is not None and os.environ.get("FAST_PATH", "true") != "false"
"""Whether the tests run with the shortcuts of `kit.fast`."""

TEST_DEFAULTS = {"fast_path": FAST_PATH, "pool_timeout": 60, "request_timeout": 5 * TIMEOUT_SECONDS}
"""Long timeouts: on a busy machine many writers wait for SQLite's only writing connection."""


def settings_for(url: str, **others: Any) -> Settings:
    """Return settings for tests. `.env` and the environment are not read, except `FAST_PATH`."""
    return Settings.model_validate({"database_url": url, "demo_data": False, **TEST_DEFAULTS, **others})


def production(url: str, **others: Any) -> Settings:
    """Return settings as in production, where requests need a token, but without the limits of requests per minute."""
    fields = {"database_url": url, "environment": "production", "secret_key": KEY, "user_rate": 0, "address_rate": 0}
    return Settings.model_validate({**fields, **TEST_DEFAULTS, **others})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Service]:
    """Provide the application with these settings, on a migrated database."""
    await upgrade(settings.database)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def with_cheap_hashes() -> Service:
    """Return the service with cheap password hashes; a factory for uvicorn."""
    cheapen(pytest.MonkeyPatch())
    return main.app


@pytest.fixture(scope="session")
async def app(new_database: Any) -> AsyncIterator[Service]:
    """Provide the application as `make run` starts it, once for all tests of an engine."""
    app = create_app(settings_for(await new_database()))
    async with app.router.lifespan_context(app):
        yield app


async def empty(database: Database) -> None:
    await engines.empty(database, SQLModel.metadata.sorted_tables)


@pytest.fixture
async def database(app: Service) -> Database:
    """Provide the database of the application, without rows."""
    await empty(app.runtime.database)
    return app.runtime.database


@pytest.fixture
async def client(app: Service, database: Database) -> AsyncIterator[Client]:
    """Provide a client of the application in this process, on a database without rows."""
    async with client_of(app) as client:
        yield client
