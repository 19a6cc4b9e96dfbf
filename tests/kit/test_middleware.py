"""The layers around the routes: allowed origins (CORS) and host names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import make_url
from starlette.responses import Response, StreamingResponse

from kit import Database, Layers, RateLimits
from tests.engines import Client
from tests.kit.service import client_of, create_runtime, create_service
from tests.kit.test_security_headers import is_safe

MEMORY = make_url("sqlite+aiosqlite://")
ORIGIN = "https://shop.example.com"


@asynccontextmanager
async def served(*, auth: bool = False, **layers: Any) -> AsyncIterator[Client]:
    """Provide a client of a service with these layers."""
    app = create_service(create_runtime(Database(MEMORY), auth=auth), layers=Layers(**layers))
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


@pytest.mark.untraced
async def test_cors_is_off_by_default(anonymous: Client) -> None:
    answer = await anonymous.get("/docs", headers={"Origin": ORIGIN})
    preflight = await anonymous.options("/books/", headers=asking())
    assert preflight.status_code == 405
    for one in (answer, preflight):
        assert [name for name in one.headers if name.startswith("access-control-")] == []


def asking(origin: str = ORIGIN, method: str = "PATCH", headers: str = "authorization, if-match") -> dict[str, str]:
    """Return the headers of a preflight request."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_a_configured_origin_is_allowed() -> None:
    async with served(origins=[ORIGIN, "https://other.example.com"]) as client:
        preflight = await client.options("/books/1", headers=asking())
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


@pytest.mark.untraced
@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://shop.example.com", "null", f"{ORIGIN}.evil"])
async def test_other_origins_are_refused(origin: str) -> None:
    async with served(origins=[ORIGIN]) as client:
        preflight = await client.options("/books/1", headers=asking(origin))
        answer = await client.get("/health/live", headers={"Origin": origin})
        assert preflight.status_code == 400
        for one in (preflight, answer):
            assert "Access-Control-Allow-Origin" not in one.headers


async def test_credentials_are_allowed_only_if_configured() -> None:
    async with served(origins=[ORIGIN], credentials=True) as client:
        answer = await client.get("/health/live", headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.untraced
async def test_refusals_have_cors_headers() -> None:
    for auth, path, status in ((True, "/nothing", 404), (True, "/books/", 401), (False, "/books/0", 422)):
        async with served(auth=auth, origins=[ORIGIN]) as client:
            answer = await client.get(path, headers={"Origin": ORIGIN})
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)


@pytest.mark.untraced
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
async def test_only_configured_host_names_are_accepted(host: str, status: int) -> None:
    async with served(hosts=["api.example.com", "*.shop.example.com"]) as client:
        answer = await client.get("/docs", headers={"Host": host})
        assert answer.status_code == status
        assert is_safe(answer)
        if status == 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:problem:untrusted-host"
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert (await client.get("/health/live", headers={"Host": host})).status_code == 200


async def test_every_host_name_is_accepted_by_default(client: Client) -> None:
    assert (await client.get("/docs", headers={"Host": "whatever.example"})).status_code == 200


async def broken() -> None:
    raise RuntimeError("broken")


async def test_failures_of_every_kind_can_be_read_by_a_page() -> None:
    app = create_service(
        create_runtime(Database(MEMORY)),
        layers=Layers(
            origins=[ORIGIN], hosts=["test"], rates=RateLimits("memory://", per_user=0, per_address=7), max_streams=0
        ),
        max_body_size=2000,
    )
    app.add_api_route("/broken", broken)
    app.add_api_route("/stream", lambda: StreamingResponse(iter("a")), response_class=Response)
    origin = {"Origin": ORIGIN}
    async with client_of(app) as client:
        answers = [
            await client.get("/broken", headers=origin),
            await client.post("/books/", content=b"0" * 2001, headers=origin),
            await client.get("/docs", headers=origin | {"Host": "other"}),
            await client.get("/stream", headers=origin),
            await client.put("/books/", headers=origin),
            await client.post("/books/", content=b"1", headers=origin | {"Content-Encoding": "gzip"}),
            await client.get("/nowhere", headers=origin),
            await client.get("/docs", headers=origin),
            await client.get("/docs", headers=origin),
        ]
    assert [answer.status_code for answer in answers] == [500, 413, 400, 503, 405, 415, 404, 200, 429]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, answer.status_code
        assert "Origin" in answer.headers["Vary"].split(", "), answer.status_code
        shown = {name for name in answer.headers if name not in ALWAYS_READABLE and not name.startswith("access-")}
        assert shown <= {name.lower() for name in answer.headers["Access-Control-Expose-Headers"].split(", ")}
        assert answer.headers["Content-Type"].startswith(("application/problem+json", "text/html"))


ALWAYS_READABLE = {
    "content-type", "content-length", "cache-control", "vary", "connection", "x-content-type-options",
    "referrer-policy", "content-security-policy", "content-encoding",
}  # fmt: skip
"""Headers that a page may read anyway, or that concern the browser alone."""


async def test_a_page_may_send_the_headers_of_the_setting_too() -> None:
    async with served(origins=[ORIGIN], headers=["traceparent", "X-Tenant"]) as client:
        preflight = await client.options("/books/1", headers=asking(headers="traceparent, x-tenant, if-match"))
        assert preflight.status_code == 200
        assert {"traceparent", "X-Tenant"} < set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
        refused = await client.options("/books/1", headers=asking(headers="traceparent, x-other"))
        assert (refused.status_code, refused.json()["type"]) == (400, "urn:problem:cors")
        assert refused.json()["detail"] == "Disallowed CORS headers."
    async with served(origins=[ORIGIN], headers=["*"]) as client:
        assert (await client.options("/books/1", headers=asking(headers="whatever"))).status_code == 200


def test_a_layer_around_all_stays_outside_when_another_one_is_added() -> None:
    service = create_service(create_runtime(Database(MEMORY)))
    service.surround(lambda inside: ("around all", inside))  # type: ignore[arg-type, return-value]
    service.add_layer(lambda inside: inside)
    surrounded: Any = service.surrounded
    assert surrounded[0] == "around all"
    assert surrounded[1] is not service.inside
