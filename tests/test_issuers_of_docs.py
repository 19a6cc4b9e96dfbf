"""The example in docs/issuers.md: a service that accepts the tokens of another issuer.

It runs in a process of its own, because its table is in no migration.
"""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines import url_for

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs/issuers.md"
BEGIN = """
import asyncio, sys
from collections.abc import Mapping
from typing import Any

import httpx
from fastapi import APIRouter
from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, select
from starlette.requests import HTTPConnection

from kit import *
from kit.fast import install
from tests.kit.issuer import issuing
"""
END = """
async def serve(issuer: Any) -> None:
    database = Database(make_url(sys.argv[1]))
    authenticator = create_authenticator(issuer.url, f"{issuer.url}/jwks", required=True)
    limits = LoginLimits("memory://", per_account=10, per_address=100, window=300)
    runtime = Runtime(database, authenticator, limits, [b"k" * 32])
    public = ["GET /", "GET /docs", "GET /docs/style.css", "MOUNT /docs/assets", "GET /openapi.json",
              "GET /health/live", "GET /health/ready"]
    app = Service(runtime, title="Shop", routers=[router], public=public)
    if sys.argv[2] == "fast":
        install(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        async with database.writer.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)

        async def me(token: str) -> Any:
            return await client.get("/accounts/me", headers={"Authorization": f"Bearer {token}"})

        token = issuer.token("one", sub="7f3c0c6e-8f3f-4b60-9c8f-7d6f3a1b2c3d")
        first = await asyncio.gather(*(me(token) for _ in range(5)))
        assert {answer.json()["subject"] for answer in first} == {"7f3c0c6e-8f3f-4b60-9c8f-7d6f3a1b2c3d"}, first
        for roles, expected in ((["superuser"], True), (["other"], False)):
            claims = {"sub": "b", "realm_access": {"roles": roles}}
            principal = await find_principal(HTTPConnection({"type": "http", "app": app}), claims)
            assert principal.is_superuser is expected
        assert (await me(issuer.token("one", aud="other"))).status_code == 401
        assert (await me("")).status_code == 401
        async with database.write() as session, session.begin():
            for account in await session.exec(select(Account)):
                account.is_active = False
        assert (await me(token)).status_code == 401
        assert issuer.requests == 1
        assert "Token" not in (await client.get("/openapi.json")).json()["components"]["securitySchemes"]


with issuing() as issuer:
    issuer.add("one", "RSA")
    asyncio.run(serve(issuer))
"""


@pytest.mark.parametrize("path", ["fast", "plain"])
async def test_the_example_accepts_the_tokens_of_the_issuer(new_database: Any, path: str) -> None:
    first, second = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    program = f"{BEGIN}\n\n{second}\n\n{first}\n\n{END}"
    url = url_for(await new_database()).render_as_string(hide_password=False)
    command = [sys.executable, "-c", program, url, path]
    done = await asyncio.to_thread(subprocess.run, command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
