"""Security headers: every response restricts browsers and caches."""

import httpx
import pytest

from kit import Service
from tests.engines import Client
from tests.kit.probes import new_book
from tests.people import Person


def is_safe(answer: httpx.Response) -> bool:
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert len(headers.get_list("Content-Security-Policy")) == 1
    return headers["Content-Security-Policy"].startswith("default-src 'none'")


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
        ("DELETE", "/books/", 405),
        ("OPTIONS", "/books/", 405),
        ("GET", "/books/", 401),
        ("PUT", "/books/1", 401),
        ("POST", "/members/", 422),
    ],
)
async def test_every_response_has_the_security_headers(method: str, path: str, status: int, anonymous: Client) -> None:
    answer = await anonymous.request(method, path)
    assert answer.status_code == status
    assert is_safe(answer)


async def test_responses_without_body_and_failures_have_the_security_headers(
    guarded: Service, superuser: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = await new_book(superuser.client)
    unchanged = await superuser.client.get(f"/books/{book['id']}", headers={"If-None-Match": '"1"'})
    gone = await superuser.client.delete(f"/books/{book['id']}")
    monkeypatch.setattr(guarded.runtime.database, "read", None)
    failed = await superuser.client.get("/books/")
    assert [answer.status_code for answer in (unchanged, gone, failed)] == [304, 204, 500]
    assert all(map(is_safe, (unchanged, gone, failed)))
    assert {answer.headers["Cache-Control"] for answer in (unchanged, gone, failed)} == {"private"}


async def test_responses_to_requests_with_a_token_are_not_cached_by_shared_caches(
    anonymous: Client, natasha: Person
) -> None:
    for path, status in (("/books/", 200), ("/books/1", 404), ("/members/1", 200), ("/docs", 200)):
        answer = await natasha.client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "private")
    refused = await anonymous.get("/books/", headers={"Authorization": "Bearer nonsense"})
    assert refused.headers["Cache-Control"] == "private"
    assert "Cache-Control" not in (await anonymous.get("/docs")).headers


async def test_hsts_is_sent_only_over_tls(guarded: Service, anonymous: Client) -> None:
    assert "Strict-Transport-Security" not in (await anonymous.get("/docs")).headers
    transport = httpx.ASGITransport(guarded)
    async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
        for path in ("/docs", "/nothing", "/books/"):
            assert (await client.get(path)).headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_the_docs_may_run_only_their_own_scripts(anonymous: Client) -> None:
    policy = (await anonymous.get("/docs")).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    own, digest = rules["script-src"].split()
    assert own == "'self'"
    assert digest.startswith("'sha256-")
    assert "http" not in policy
    assert "*" not in policy


async def test_no_response_names_the_server_software(anonymous: Client, natasha: Person) -> None:
    for answer in (await anonymous.get("/docs"), await natasha.client.get("/books/")):
        assert not {"x-powered-by", "x-aspnet-version"} & set(answer.headers)
        assert "uvicorn" not in answer.headers.get("server", "").lower()
