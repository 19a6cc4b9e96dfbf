"""Users of a service that requires authentication: superusers and members, each with a client of their own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from pydantic import SecretStr

from heroes.user import User
from kit import CURRENT_PRINCIPAL, UNRESTRICTED, Claims, Service, hashed
from kit.database.migrations import upgrade
from main import create_app
from settings import Settings

KEY = "0123456789abcdef0123456789abcdef"
"""What signs the tokens of the tests."""
PASSWORD = "correct horse battery"  # noqa: S105  of everybody here
FAST_PATH = os.environ.get("FAST_PATH", "true")
"""`false` runs the tests without the shortcuts of `kit.fast`."""
numbers = count(1)


@dataclass(frozen=True)
class Person:
    """A user, and a client that sends their token along."""

    client: httpx.AsyncClient
    token: str
    username: str
    email: str
    id: int


def client_of(app: Service, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the application in this process, which seems to call from this address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 12345))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def token_of(app: Service, user_id: int, generation: int = 0) -> str:
    return app.runtime.authenticator.tokens.issue(Claims(user_id, generation))


async def join(app: Service, **fields: Any) -> Person:
    """A new user of this service, made beside its permissions."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)  # the last request of this test may have left its own principal
    name = fields.pop("username", f"member{next(numbers)}")
    secret = await hashed(SecretStr(fields.pop("password", PASSWORD)))
    async with app.runtime.database.write() as session, session.begin():
        given = {"username": name, "email": f"{name}@people.example", "hashed_password": secret, "generation": 0}
        user = User(**given | fields)
        session.add(user)
    token = token_of(app, user.id)
    return Person(client_of(app, token), token, user.username, user.email, user.id)


def production(url: str, **others: Any) -> Settings:
    """Settings as in production, where requests need a token."""
    fields = {"database_url": url, "environment": "production", "secret_key": KEY, "fast_path": FAST_PATH}
    return Settings.model_validate(fields | others)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Service]:
    """The application with these settings, on a database that is migrated before."""
    await upgrade(settings.database)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app
