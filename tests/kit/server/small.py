"""A service without resources, whose users are known by their ids: 1 is a superuser, the others are members."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import httpx
from fastapi import APIRouter
from sqlalchemy import make_url
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from kit import SUPERUSER, Authenticator, Claims, Database, LoginLimits, Principal, Runtime, Service, Tokens

KEY = b"0123456789abcdef0123456789abcdef"
TOKENS = Tokens([KEY], "small", timedelta(minutes=5))
OWN = frozenset(
    {
        "GET /",
        "GET /docs",
        "GET /docs/style.css",
        "MOUNT /docs/assets",
        "GET /openapi.json",
        "GET /health/live",
        "GET /health/ready",
    }
)
"""The routes of the kit that need no token."""
SUPERUSER_ID, MEMBER = 1, 2


async def find(_: HTTPConnection, claims: Claims) -> Principal:
    return Principal(claims.user_id, frozenset({SUPERUSER} if claims.user_id == SUPERUSER_ID else ()))


def small_service(
    *routers: APIRouter,
    public: Collection[str] = (),
    auth: bool = True,
    database: Database | None = None,
    authenticator: Authenticator[Any] | None = None,
    **options: Any,
) -> Service:
    """Return a service with these routers. The default database is in memory, and the tokens are `TOKENS`."""
    limits = LoginLimits("memory://", per_account=10, per_address=100, window=60)
    database = database or Database(make_url("sqlite+aiosqlite://"))
    runtime = Runtime(database, authenticator or Authenticator(auth, TOKENS, find), limits, [KEY])
    return Service(runtime, title="Small", routers=routers, public=OWN.union(public), **options)


def bearer(user_id: int) -> dict[str, str]:
    """Return the headers of a request by this user."""
    return {"Authorization": f"Bearer {TOKENS.issue(Claims(user_id, 0))}"}


def asking(app: ASGIApp, *, raises: bool = False) -> httpx.AsyncClient:
    """Return a client of an application in this process. With `raises` it raises the exceptions of the application."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raises)
    return httpx.AsyncClient(transport=transport, base_url="http://test")
