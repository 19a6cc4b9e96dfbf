"""The application: its settings take effect in the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from httpx import Response

from kit import Service
from main import create_app
from tests.accounts import PASSWORD, join
from tests.application import opened, production, settings_for
from tests.clients import client_of
from tests.engines import Client
from tests.live import free_port
from tests.rows import cheap_hashes, new_user, read

WRONG = "wrong password"
ORIGIN = "https://shop.example.com"
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Client]:
    """Provide a client of the application with these settings, on a database without tables."""
    app = create_app(settings_for("sqlite://", **settings))
    async with client_of(app) as client:
        yield client
    await app.runtime.database.dispose()


@pytest.fixture
async def strict(new_database: Any) -> AsyncIterator[Service]:
    """Provide a service that allows three failed logins of an account, and five from an address."""
    settings = production(await new_database(), login_failures=3, login_failures_address=5, login_window=60)
    async with opened(settings) as app:
        for username in ("natasha", "steve"):
            await join(app, username=username)
        yield app


async def log_in(app: Service, username: str, password: str, address: str = "10.0.0.1") -> Response:
    async with client_of(app, address=address) as client:
        return await client.post("/auth/token", data={"username": username, "password": password})


async def statuses(app: Service, username: str, *attempts: str, address: str = "10.0.0.1") -> list[int]:
    return [(await log_in(app, username, password, address)).status_code for password in attempts]


async def test_failed_logins_lock_an_account_for_every_address(strict: Service) -> None:
    assert await statuses(strict, "natasha", WRONG, WRONG, PASSWORD) == [401, 401, 200]
    assert await statuses(strict, "Natasha", WRONG, PASSWORD) == [401, 429]
    refused = await log_in(strict, "natasha", PASSWORD, "10.0.0.2")
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:problem:too-many-attempts")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert await statuses(strict, "steve", PASSWORD) == [200]


async def test_failed_logins_lock_an_address_for_every_account(strict: Service) -> None:
    for number in range(5):
        assert await statuses(strict, f"stranger{number}", WRONG) == [401]
    assert await statuses(strict, "steve", PASSWORD) == [429]
    assert await statuses(strict, "steve", PASSWORD, address="10.0.0.2") == [200]


async def test_an_invalid_token_does_not_count_as_a_failed_login(strict: Service) -> None:
    async with client_of(strict, "nonsense", "10.0.0.1") as client:
        assert {(await client.get("/users/")).status_code for _ in range(10)} == {401}
    assert await statuses(strict, "natasha", PASSWORD) == [200]


async def test_logins_fail_without_the_redis_that_counts_failures(new_database: Any) -> None:
    settings = production(await new_database(), limits_url=f"redis://127.0.0.1:{free_port()}")
    async with opened(settings) as app:
        answer = await log_in(app, "natasha", PASSWORD)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:problem:unavailable")


async def test_pages_of_configured_origins_may_call_the_service() -> None:
    async with served(cors_origins=f"{ORIGIN}, https://other.example.com", cors_credentials=True) as client:
        answer = await client.get("/health/live", headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        other = await client.get("/health/live", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in other.headers


async def test_only_configured_host_names_are_served() -> None:
    async with served(trusted_hosts="api.example.com,*.shop.example.com") as client:
        received = [
            (await client.get("/docs", headers={"Host": host})).status_code
            for host in ("api.example.com", "a.shop.example.com", "example.com")
        ]
    assert received == [200, 200, 400]


async def test_the_configured_body_size_is_the_limit() -> None:
    async with served(max_body_size=1024) as client:
        for size, status in ((2000, 413), (1000, 422)):
            assert (await client.post("/users/", json={"username": "x" * size})).status_code == status


@pytest.mark.parametrize("fast_path", [True, False])
async def test_the_fast_path_can_be_switched_off_without_a_visible_difference(
    new_database: Any, fast_path: bool
) -> None:
    async with opened(settings_for(await new_database(), fast_path=fast_path)) as app, client_of(app) as client:
        has_folder = find_spec("kit.fast") is not None  # a service may delete it
        assert (app.runtime.fast_page is not None) is (fast_path and has_folder)
        created = await new_user(client)
        assert await read(client, f"/users/{created['id']}") == created
        assert await read(client, "/users/") == [created]
