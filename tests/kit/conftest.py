"""Fixtures of the kit's tests: the bookshop on both engines, without rows, and databases that fail during a COMMIT."""

import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from kit import Database, Service
from kit.database import absent, error_responses
from kit.database.engines import Pool
from tests import people
from tests.engines import Client, url_for
from tests.kit import accounts
from tests.kit.probes import TIMEOUT_SECONDS, at_commit, execute
from tests.kit.service import FAST_PATH, clear, client_of, create_runtime, create_service, create_tables, join
from tests.people import NewPerson

PATIENT_POOL = Pool(timeout=TIMEOUT_SECONDS, lock_timeout=TIMEOUT_SECONDS)
"""Long timeouts: on a busy machine fifty writers wait for SQLite's only writing connection, or for one row."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deselect tests of statements that only PostgreSQL has when they run on SQLite. Their ids name the database."""
    items[:] = [item for item in items if not ("[sqlite" in item.name and "(PostgreSQL)" in item.name)]


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    """Send the kit's log to pytest's handlers, however a test or an application has configured it."""
    loggers = [logging.getLogger(name) for name in ("kit", "uvicorn", "uvicorn.error", "uvicorn.access")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    loggers[0].handlers, loggers[0].propagate = [], True
    loggers[0].setLevel(logging.INFO)
    error_responses.logged.clear()
    absent.noticed.clear()
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
async def library_url(new_database: Any) -> str:
    """Provide the URL of a database with the tables of the bookshop."""
    url: str = await new_database()
    database = Database(url_for(url))
    await create_tables(database)
    await database.dispose()
    return url


@pytest.fixture(scope="session")
async def app(library_url: str) -> AsyncIterator[Service]:
    """Provide the bookshop without authentication, once for all tests of an engine."""
    app = create_service(create_runtime(Database(url_for(library_url), PATIENT_POOL)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def app_with_auth(library_url: str) -> AsyncIterator[Service]:
    """Provide the bookshop with authentication."""
    app = create_service(create_runtime(Database(url_for(library_url), PATIENT_POOL), auth=True))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(app: Service) -> Database:
    """Provide the database of the bookshop, without rows."""
    await clear(app.runtime.database)
    return app.runtime.database


@pytest.fixture
async def client(app: Service, database: Database) -> AsyncIterator[Client]:
    """Provide a client of the bookshop in this process."""
    async with client_of(app) as client:
        yield client


@pytest.fixture(scope="session", params=[False, FAST_PATH] if FAST_PATH else [False])
def app_with_accounts(request: pytest.FixtureRequest, app: Service) -> Service:
    """Provide the bookshop with its accounts, with and without the fast path."""
    return create_service(create_runtime(app.runtime.database), *accounts.ROUTERS, fast=request.param)


@pytest.fixture(scope="session", params=[False, FAST_PATH] if FAST_PATH else [False])
def guarded_app_with_accounts(request: pytest.FixtureRequest, app: Service) -> Service:
    """Provide the same, where everybody needs a token."""
    return create_service(create_runtime(app.runtime.database, auth=True), *accounts.ROUTERS, fast=request.param)


@pytest.fixture
async def accounts_client(app_with_accounts: Service, database: Database) -> AsyncIterator[Client]:
    """Provide a client of the bookshop with its accounts."""
    async with client_of(app_with_accounts) as client:
        yield client


@pytest.fixture
async def guarded(app_with_auth: Service) -> Service:
    """Provide the bookshop with authentication, without rows."""
    await clear(app_with_auth.runtime.database)
    return app_with_auth


@pytest.fixture
def new_person(guarded: Service) -> NewPerson:
    """Provide a function that stores members of the bookshop, each with an HTTP client."""
    return partial(join, guarded)


anonymous, superuser, natasha, steve = people.anonymous, people.superuser, people.natasha, people.steve


@pytest.fixture
async def deferred_foreign_keys(database: Database) -> AsyncIterator[None]:
    """Make foreign keys deferred: checked at COMMIT."""
    if database.is_sqlite:
        event.listen(database.writer.sync_engine, "checkout", defer_foreign_keys)
        yield
        event.remove(database.writer.sync_engine, "checkout", defer_foreign_keys)
        return
    constraint = "ALTER TABLE kit_book ALTER CONSTRAINT fk_kit_book_shelf_id"
    await execute(database, f"{constraint} DEFERRABLE INITIALLY DEFERRED")
    yield
    await execute(database, f"{constraint} NOT DEFERRABLE")


def defer_foreign_keys(connection: Any, *_: object) -> None:
    connection.cursor().execute("PRAGMA defer_foreign_keys = ON")


@pytest.fixture
async def connection_lost_at_commit(database: Database) -> AsyncIterator[None]:
    """Cut the connection during every COMMIT that inserts a book."""
    async with at_commit(database, "kit_book", "pg_terminate_backend(pg_backend_pid())"):
        yield
