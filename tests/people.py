"""People: users of a service with authentication, each with a client; for the tests of the kit and of the domain.

Both provide the fixtures `guarded`, a service that requires tokens, and `new_person`, which creates its users.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest

from kit import Service
from tests.clients import client_of
from tests.engines import Client


@dataclass(frozen=True)
class Person:
    """A user, and a client with the token of the user."""

    client: httpx.AsyncClient
    token: str
    username: str
    email: str
    id: int


NewPerson = Callable[..., Awaitable[Person]]


@pytest.fixture
async def anonymous(guarded: Service) -> AsyncIterator[Client]:
    """Provide a client without a token."""
    async with client_of(guarded) as client:
        yield client


@pytest.fixture
async def superuser(new_person: NewPerson) -> AsyncIterator[Person]:
    """Provide a superuser."""
    person = await new_person(username="admin", is_superuser=True)
    async with person.client:
        yield person


@pytest.fixture
async def natasha(new_person: NewPerson) -> AsyncIterator[Person]:
    """Provide a member."""
    person = await new_person(username="natasha")
    async with person.client:
        yield person


@pytest.fixture
async def steve(new_person: NewPerson) -> AsyncIterator[Person]:
    """Provide another member."""
    person = await new_person(username="steve")
    async with person.client:
        yield person
