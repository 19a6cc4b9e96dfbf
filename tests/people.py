"""Who asks a service that wants to know it: superusers, members, and nobody in particular."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from heroes.user import User
from kit.auth.passwords import hashed
from kit.auth.permissions import ANYBODY, CALLER
from kit.auth.tokens import Claims, Tokens
from kit.database.migrations import upgrade
from main import create_app
from settings import Settings

KEY = "0123456789abcdef0123456789abcdef"
"""What signs the tokens of the tests."""
PASSWORD = "correct horse battery"  # noqa: S105  of everybody here
numbers = count(1)


@dataclass(frozen=True)
class Person:
    """A user, and a client that sends their token along."""

    client: httpx.AsyncClient
    token: str
    username: str
    email: str
    id: int


def client_of(app: FastAPI, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the application in this process, which seems to call from this address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 12345))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


def token_of(app: FastAPI, user_id: int, generation: int = 0) -> str:
    tokens: Tokens = app.state.guard.tokens
    return tokens.issue(Claims(user_id, generation))


async def join(app: FastAPI, **fields: Any) -> Person:
    """A new user of this service, made beside its permissions."""
    CALLER.set(ANYBODY)  # in a test the last request of this process was in the same context
    name = fields.pop("username", f"member{next(numbers)}")
    secret = await hashed(SecretStr(fields.pop("password", PASSWORD)))
    async with app.state.database.write() as session, session.begin():
        user = User(**{"username": name, "email": f"{name}@people.example", "hashed_password": secret} | fields)
        session.add(user)
    token = token_of(app, user.id)
    return Person(client_of(app, token), token, user.username, user.email, user.id)


def production(url: str, **others: Any) -> Settings:
    return Settings.model_validate({"database_url": url, "environment": "production", "secret_key": KEY, **others})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application with these settings, on a database that is migrated before."""
    await upgrade(settings.database)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app
