"""How passwords are hashed: with argon2id, beside the event loop, so many at a time and no more."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pwdlib import PasswordHash
from pydantic import SecretStr, TypeAdapter, ValidationError

from kit.auth import passwords as password
from kit.auth.passwords import Password, hashed
from kit.http.problems import Problem
from tests.conftest import Client
from tests.shop import new_hero, new_user, user_body

PATIENCE = 20
"""Seconds, after which a test that waits has failed."""
SECRET = "Zq9-swordfish"  # noqa: S105  to be looked for


class Held:
    """A hasher that does not finish before it is released, but for so many hashes that are `free`."""

    def __init__(self) -> None:
        self.started, self.released, self.threads = threading.Event(), threading.Event(), set[str]()
        self.free = 0

    def hash(self, password: str) -> str:
        self.threads.add(threading.current_thread().name)
        self.free -= 1
        if self.free >= 0:
            return "$argon2id$"
        self.started.set()
        assert self.released.wait(PATIENCE)
        return f"$argon2id${len(password)}"

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, PATIENCE)


class Interrupted:
    """A hasher that does not finish before another request has written something."""

    def __init__(self, client: Client) -> None:
        self.client, self.loop, self.statuses = client, asyncio.get_running_loop(), list[int]()

    def hash(self, _: str) -> str:
        self.statuses.append(asyncio.run_coroutine_threadsafe(self.write(), self.loop).result(PATIENCE))
        return "$argon2id$"

    async def write(self) -> int:
        return (await self.client.post("/heroes/", json={"name": "Deadpond", "secret_name": "Dive"})).status_code


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr(password, "hasher", held)
    yield held
    held.released.set()


async def test_a_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    first, second = [await hashed(SecretStr(SECRET)) for _ in range(2)]
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,")
    assert PasswordHash.recommended().verify(SECRET, first)
    assert not PasswordHash.recommended().verify(SECRET.lower(), first)


async def test_other_requests_are_answered_while_a_password_is_hashed(client: Client, held: Held) -> None:
    creating = asyncio.create_task(new_user(client))
    await held.has_started()
    hero = await new_hero(client)
    assert (await client.get("/heroes/")).json() == [hero]
    assert not creating.done()
    held.released.set()
    await creating
    assert held.threads == {"argon2_0"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_new_password_is_hashed_before_the_user_is_locked(client: Client, held: Held, method: str) -> None:
    held.free = 1
    path = f"/users/{(await new_user(client))['id']}"
    changing = asyncio.create_task(client.request(method, path, json=user_body()))
    await held.has_started()
    assert (await client.patch(path, json={"full_name": "Natasha"})).status_code == 200
    held.released.set()
    assert (await changing).status_code == 200


@pytest.mark.parametrize(("on_error", "second"), [("abort", {}), ("skip", {}), ("abort", {"username": "Natasha"})])
async def test_others_can_write_whenever_one_of_many_passwords_is_hashed(
    client: Client, monkeypatch: pytest.MonkeyPatch, on_error: str, second: dict[str, str]
) -> None:
    interrupted = Interrupted(client)
    monkeypatch.setattr(password, "hasher", interrupted)
    await new_user(client, username="natasha")
    answer = await client.post(f"/users/bulk?on_error={on_error}", json=[user_body(), user_body(**second)])
    assert answer.status_code == (409 if second else 200 if on_error == "skip" else 201)
    assert set(interrupted.statuses) == {201}
    assert len(interrupted.statuses) >= 3


async def test_so_many_hashes_wait_and_no_more(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "MAX_WAITING", 3)
    waiting = [asyncio.create_task(hashed(SecretStr(SECRET))) for _ in range(3)]
    await held.has_started()
    with pytest.raises(Problem) as refused:
        await hashed(SecretStr(SECRET))
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "1"}
    held.released.set()
    await asyncio.gather(*waiting)
    assert await hashed(SecretStr(SECRET))


async def test_a_hash_that_nobody_waits_for_any_more_gives_its_place_to_others(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password, "MAX_WAITING", 1)
    waiting = asyncio.create_task(hashed(SecretStr(SECRET)))
    await held.has_started()
    waiting.cancel()
    await asyncio.wait([waiting])
    held.released.set()
    assert await hashed(SecretStr(SECRET))


async def test_a_user_is_told_when_too_many_passwords_wait(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "MAX_WAITING", 0)
    answer = await client.post("/users/", json=user_body())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("password", ["x" * 7, "x" * 129, "x" * 8 + "\0", "x" * 8 + "\udfff", 12345678, None])
def test_a_password_is_8_to_128_storable_characters(password: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[SecretStr](Password).validate_python(password)


def test_a_password_does_not_show_itself() -> None:
    password = TypeAdapter[SecretStr](Password).validate_python(SECRET)
    assert SECRET not in f"{password!r} {password}"
