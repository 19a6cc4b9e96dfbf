"""What every answer carries: headers that tell browsers and caches what not to do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from main import create_app
from tests.conftest import Client, settings_for
from tests.people import Person, client_of
from tests.shop import cheap_hashes, new_hero

ORIGIN = "https://shop.example.com"
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


def is_safe(answer: httpx.Response) -> bool:
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert len(headers.get_list("Content-Security-Policy")) == 1
    return headers["Content-Security-Policy"].startswith("default-src 'none'")


@asynccontextmanager
async def served(url: str = "sqlite://", **settings: Any) -> AsyncIterator[tuple[FastAPI, Client]]:
    """A service of its own, and its client."""
    app = create_app(settings_for(url, **settings))
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield app, client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("HEAD", "/health/live", 200),
        ("GET", "/", 307),
        ("GET", "/docs", 200),
        ("GET", "/docs/style.css", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/docs/assets/nothing.css", 404),
        ("GET", "/openapi.json", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/heroes/", 405),
        ("OPTIONS", "/heroes/", 405),
        ("GET", "/heroes/", 401),
        ("POST", "/auth/token", 422),
        ("POST", "/users/", 422),
    ],
)
async def test_every_answer_is_safe(method: str, path: str, status: int, nobody: Client) -> None:
    answer = await nobody.request(method, path)
    assert answer.status_code == status
    assert is_safe(answer)


async def test_an_answer_without_a_body_and_a_fault_are_safe_too(
    guarded: FastAPI, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hero = await new_hero(boss.client)
    unchanged = await boss.client.get(f"/heroes/{hero['id']}", headers={"If-None-Match": '"1"'})
    gone = await boss.client.delete(f"/heroes/{hero['id']}")
    monkeypatch.setattr(guarded.state.database, "read", None)
    fault = await boss.client.get("/heroes/")
    assert [answer.status_code for answer in (unchanged, gone, fault)] == [304, 204, 500]
    assert all(map(is_safe, (unchanged, gone, fault)))
    assert {answer.headers["Cache-Control"] for answer in (unchanged, gone, fault)} == {"private"}


async def test_where_a_token_was_sent_no_shared_cache_keeps_the_answer(nobody: Client, natasha: Person) -> None:
    for path, status in (("/heroes/", 200), ("/heroes/1", 404), ("/users/me", 200), ("/docs", 200)):
        answer = await natasha.client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "private")
    refused = await nobody.get("/heroes/", headers={"Authorization": "Bearer nonsense"})
    assert refused.headers["Cache-Control"] == "private"
    assert "Cache-Control" not in (await nobody.get("/docs")).headers


async def test_only_behind_tls_browsers_are_told_to_stay_there(guarded: FastAPI, nobody: Client) -> None:
    assert "Strict-Transport-Security" not in (await nobody.get("/docs")).headers
    transport = httpx.ASGITransport(guarded)
    async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
        for path in ("/docs", "/nothing", "/heroes/"):
            assert (await client.get(path)).headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_the_docs_may_run_their_own_scripts_and_nobody_elses(nobody: Client) -> None:
    policy = (await nobody.get("/docs")).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    own, digest = rules["script-src"].split()
    assert own == "'self'"
    assert digest.startswith("'sha256-")
    assert "http" not in policy
    assert "*" not in policy


async def test_browsers_of_other_origins_are_told_nothing_by_default(nobody: Client) -> None:
    answer = await nobody.get("/docs", headers={"Origin": ORIGIN})
    preflight = await nobody.options("/heroes/", headers=asking())
    assert preflight.status_code == 405
    for one in (answer, preflight):
        assert [name for name in one.headers if name.startswith("access-control-")] == []


def asking(origin: str = ORIGIN, method: str = "PATCH", headers: str = "authorization, if-match") -> dict[str, str]:
    """What a browser asks before it sends something to another origin."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_an_origin_that_is_named_may_ask_from_a_browser() -> None:
    async with served(cors_origins=f"{ORIGIN}, https://other.example.com") as (_, client):
        preflight = await client.options("/heroes/1", headers=asking())
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        assert {"Authorization", "If-Match"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
        assert is_safe(preflight)
        answer = await client.get("/health/live", headers={"Origin": "https://other.example.com"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://other.example.com"
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert exposed >= {"ETag", "Link", "Location", "X-Total-Count", "X-Request-ID", "Retry-After"}
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://shop.example.com", "null", f"{ORIGIN}.evil"])
async def test_other_origins_may_not(origin: str) -> None:
    async with served(cors_origins=ORIGIN) as (_, client):
        preflight = await client.options("/heroes/1", headers=asking(origin))
        answer = await client.get("/health/live", headers={"Origin": origin})
        assert preflight.status_code == 400
        for one in (preflight, answer):
            assert "Access-Control-Allow-Origin" not in one.headers


async def test_cookies_come_along_only_where_that_is_wanted() -> None:
    async with served(cors_origins=ORIGIN, cors_credentials=True) as (_, client):
        answer = await client.get("/health/live", headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_a_browser_sees_why_it_is_refused() -> None:
    async with served(cors_origins=ORIGIN) as (_, client):
        for path, status in (("/nothing", 404), ("/users/me", 401), ("/heroes/0", 422)):
            answer = await client.get(path, headers={"Origin": ORIGIN})
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.com", 200),
        ("API.Example.COM", 200),
        ("api.example.com:8443", 200),
        ("a.b.shop.example.com", 200),
        ("shop.example.com", 400),
        ("example.com", 400),
        ("api.example.com.evil.com", 400),
        ("evil-api.example.com", 400),
        ("api.example.com@evil.com", 400),
        ("[::1]:8000", 400),
        ("", 400),
        (":80", 400),
    ],
)
async def test_only_names_of_the_service_are_answered(host: str, status: int) -> None:
    async with served(trusted_hosts="api.example.com,*.shop.example.com") as (_, client):
        answer = await client.get("/docs", headers={"Host": host})
        assert answer.status_code == status
        assert is_safe(answer)
        if status == 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:problem:untrusted-host"
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert (await client.get("/health/live", headers={"Host": host})).status_code == 200


async def test_every_name_is_answered_by_default(client: Client) -> None:
    assert (await client.get("/docs", headers={"Host": "whatever.example"})).status_code == 200


async def test_no_answer_tells_what_serves_it(nobody: Client, natasha: Person) -> None:
    for answer in (await nobody.get("/docs"), await natasha.client.get("/heroes/")):
        assert not {"x-powered-by", "x-aspnet-version"} & set(answer.headers)
        assert "uvicorn" not in answer.headers.get("server", "").lower()
