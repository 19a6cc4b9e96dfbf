"""Rows of users and of other resources: created and read through the API."""

from itertools import count
from typing import Any

import pytest

from tests.engines import Client
from tests.hashing import cheapen

Json = dict[str, Any]
PASSWORD = "correct horse battery"  # noqa: S105  of nobody
UNKNOWN = "01890000-0000-7000-8000-000000000000"
numbers = count(1)


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make password hashes cheap, for tests that create many users."""
    cheapen(monkeypatch)


async def made(client: Client, path: str, /, **fields: Any) -> Json:
    """Return the response to a POST that creates a resource."""
    answer = await client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    thing: Json = answer.json()
    return thing


def user_body(**fields: Any) -> Json:
    name = f"user{next(numbers)}"
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD} | fields


async def new_user(client: Client, /, **fields: Any) -> Json:
    return await made(client, "/users/", **user_body(**fields))


async def read(client: Client, path: str, /, **parameters: Any) -> Any:
    answer = await client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(client: Client, path: str, /, **parameters: Any) -> list[Any]:
    """Return the ids of a list, in order."""
    return [thing["id"] for thing in await read(client, path, **parameters)]
