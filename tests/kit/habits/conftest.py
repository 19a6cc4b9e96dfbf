"""Fixtures of the habits' tests: a service with plain routes, with routes of a resource, and with the fast path."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlmodel import col, select
from starlette.requests import HTTPConnection

from kit import (
    SUPERUSER,
    Authenticator,
    Claims,
    Database,
    LoginLimits,
    Principal,
    Runtime,
    Service,
    Tokens,
    Who,
    allowing,
)
from kit.database.collations import ensure_folding
from kit.operations.idempotency import StoredResponse
from tests.clients import client_of as client_of
from tests.engines import empty, url_for
from tests.kit.habits.items import REGISTRY, HabitItem

SECRET = b"0123456789abcdef0123456789abcdef"
TOKENS = Tokens([SECRET], "habits", timedelta(minutes=5))
SUPERUSER_ID, MEMBER, OTHER = 1, 2, 3
"""The ids of users. The first one is a superuser."""
Serve = Callable[..., Awaitable[httpx.AsyncClient]]


async def find(_: HTTPConnection, claims: Claims) -> Principal:
    return Principal(claims.user_id, frozenset({SUPERUSER} if claims.user_id == SUPERUSER_ID else ()))


def bearer(user_id: int) -> dict[str, str]:
    """Return the headers of a request by this user."""
    return {"Authorization": f"Bearer {TOKENS.issue(Claims(user_id, 0))}"}


def runtime_on(database: Database, *, auth: bool = False) -> Runtime:
    limits = LoginLimits("memory://", per_account=10, per_address=100, window=60)
    return Runtime(database, Authenticator(auth, TOKENS, find), limits, [SECRET])


def resource_router(**options: Any) -> APIRouter:
    route_class = allowing(read=Who.MEMBERS, create=Who.MEMBERS, bulk=Who.MEMBERS, change=Who.OWNERS)
    return APIRouter(route_class=route_class, **options)


@pytest.fixture(scope="session")
async def habits_url(new_database: Any) -> str:
    """Provide the URL of a database with the tables of these tests."""
    url: str = await new_database()
    database = Database(url_for(url))
    async with database.writer.begin() as connection:
        await connection.run_sync(ensure_folding)
        await connection.run_sync(REGISTRY.metadata.create_all)
        await connection.run_sync(lambda sync: StoredResponse.metadata.tables["idempotency_key"].create(sync))
    await database.dispose()
    return url


NO_CASE = SimpleNamespace(params={})
"""The parameters of a test that has none."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of the fast path if its folder was deleted, which a service may do."""
    if find_spec("kit.fast") is None:
        fast = {item for item in items if getattr(item, "callspec", NO_CASE).params.get("way") == "fast"}
        config.hook.pytest_deselected(items=list(fast))
        items[:] = [item for item in items if item not in fast]


@pytest.fixture(params=["plain", "resource", "fast"])
def way(request: pytest.FixtureRequest) -> str:
    """Provide the kind of routes and the path: plain or of a resource, with or without the fast path."""
    return str(request.param)


@pytest.fixture
async def database(habits_url: str) -> AsyncIterator[Database]:
    """Provide the database, without rows."""
    database = Database(url_for(habits_url))
    await empty(database, [*REGISTRY.metadata.sorted_tables, StoredResponse.metadata.tables["idempotency_key"]])
    yield database
    await database.dispose()


@pytest.fixture
def new_router(way: str) -> Callable[..., APIRouter]:
    """Provide a function that makes plain routers, or routers of a resource."""
    return APIRouter if way == "plain" else resource_router


@pytest.fixture
def router(new_router: Callable[..., APIRouter]) -> APIRouter:
    """Provide the router for the routes of one test."""
    return new_router()


@pytest.fixture
def new_service(database: Database, way: str) -> Callable[..., Service]:
    """Provide a function that makes a service from routers and options of FastAPI."""

    def make(*routers: APIRouter, auth: bool = False, public: tuple[str, ...] = (), **options: Any) -> Service:
        service = Service(runtime_on(database, auth=auth), routers=routers, public=public, title="Habits", **options)
        if way == "fast":
            import_module("kit.fast").install(service)
        return service

    return make


@pytest.fixture
async def serve(new_service: Callable[..., Service]) -> AsyncIterator[Serve]:
    """Provide a function that makes a service from routers, and returns a client of it."""
    async with AsyncExitStack() as stack:

        async def opened(*routers: APIRouter, **options: Any) -> httpx.AsyncClient:
            service = new_service(*routers, **options)
            await stack.enter_async_context(service.router.lifespan_context(service))
            return await stack.enter_async_context(client_of(service))

        yield opened


@pytest.fixture
def names(database: Database) -> Callable[[], Awaitable[list[str]]]:
    """Provide a function that reads the names of the stored items."""

    async def read() -> list[str]:
        async with database.read() as session:
            return list(await session.exec(select(HabitItem.name).order_by(col(HabitItem.id))))

    return read
