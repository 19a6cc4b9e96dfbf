"""Secrets in logs: passwords, tokens, keys, and passwords in URLs are never logged."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.database.migrations import upgrade
from tests.application import settings_for
from tests.live import Server, free_port, serving
from tests.waiting import TIMEOUT_SECONDS

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

MARK = "Zq9"
"""A part of every secret in these tests."""
KEY = f"{MARK}-0123456789abcdef0123456789abcdef"
PASSWORD = f"{MARK}-swordfish"
OTHER = f"{MARK}-password"
PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": KEY, "LOG_LEVEL": "DEBUG"}


def log_in(client: httpx.Client, password: str = PASSWORD) -> httpx.Response:
    return client.post("/auth/token", data={"username": "natasha", "password": password})


def register(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/users/", json={"username": "natasha", "email": "n@example.com", "password": PASSWORD} | fields)


def use(server: Server) -> list[str]:
    """Register, log in, fail to log in, and change the password. Returns every token that was sent."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS) as client:
        answers = [register(client), register(client), register(client, password=MARK), log_in(client, OTHER)]
        token = str(log_in(client).json()["access_token"])
        mine, forged = ({"Authorization": f"Bearer {one}"} for one in (token, f"{token[:-4]}{MARK}A"))
        answers += [client.get("/users/me", headers=headers) for headers in (mine, forged, {"Authorization": MARK})]
        path = answers[-3].json()["id"]
        answers += [client.patch(f"/users/{path}", json={"password": OTHER}, headers=mine)]
        answers += [client.get(f"/users/?password={PASSWORD}", headers=mine), log_in(client, OTHER)]
        answers += [
            client.post("/auth/token", content=f"{PASSWORD}\0", headers={"content-type": "multipart/form-data"})
        ]
    assert [answer.status_code for answer in answers] == [201, 409, 422, 401, 200, 401, 401, 200, 401, 200, 400]
    assert not [answer.text for answer in answers if MARK in answer.text]
    return [token, *token.split(".")[1:]]


async def test_logs_in_production_contain_no_secret(new_database: Any, log_file: Path) -> None:
    url = await new_database()
    await upgrade(settings_for(url).database)
    with serving(url, log_file, **PRODUCTION) as server:
        tokens = use(server)
    assert server.log.count('"route": "/auth/token"') == 4
    assert not [secret for secret in (MARK, "n@example.com", "argon2", "Bearer", *tokens) if secret in server.log]


@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.usefixtures("anyio_backend")
def test_logs_of_failures_contain_no_password_of_the_database_or_of_redis(environment: str, log_file: Path) -> None:
    lost = f"127.0.0.1:{free_port()}"
    settings = PRODUCTION | {"ENVIRONMENT": environment, "REQUIRE_AUTH": "true", "REQUEST_TIMEOUT": "2"}
    settings |= {"STATEMENT_TIMEOUT": "1", "LIMITS_URL": f"redis://:{PASSWORD}@{lost}"}
    url = f"postgresql://natasha:{PASSWORD}@{lost}/service"
    with (
        serving(url, log_file, **settings) as server,
        httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS) as client,
    ):
        answers = [client.get("/health/ready"), register(client), log_in(client)]
    assert {answer.status_code for answer in answers} <= {503, 504}
    assert "/health/ready" in server.log
    assert MARK not in server.log
    assert not [answer.text for answer in answers if MARK in answer.text]
