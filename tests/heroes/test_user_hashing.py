"""Passwords are hashed before rows are locked, so that other requests can read and write meanwhile."""

import asyncio

import pytest

from kit.auth import passwords
from tests import hashing
from tests.engines import Client
from tests.hashing import BlockingHasher
from tests.rows import new_user, read, user_body
from tests.waiting import TIMEOUT_SECONDS

blocking_hasher = hashing.blocking_hasher


class WritingHasher:
    """A hasher that returns only after another request has changed a user."""

    def __init__(self, client: Client) -> None:
        self.client, self.loop, self.statuses = client, asyncio.get_running_loop(), list[int]()

    def hash(self, _: str) -> str:
        self.statuses.append(asyncio.run_coroutine_threadsafe(self.write(), self.loop).result(TIMEOUT_SECONDS))
        return "$argon2id$"

    async def write(self) -> int:
        return (await self.client.patch("/users/1", json={"full_name": "Steve"})).status_code


async def test_other_requests_are_served_while_a_password_is_hashed(
    client: Client, blocking_hasher: BlockingHasher
) -> None:
    blocking_hasher.free = 1
    user = await new_user(client)
    creating = asyncio.create_task(new_user(client))
    await blocking_hasher.has_started()
    assert await read(client, "/users/") == [user]
    assert (await client.delete(f"/users/{user['id']}")).status_code == 204
    assert not creating.done()
    blocking_hasher.released.set()
    await creating


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_new_password_is_hashed_before_the_user_is_locked(
    client: Client, blocking_hasher: BlockingHasher, method: str
) -> None:
    blocking_hasher.free = 1
    path = f"/users/{(await new_user(client))['id']}"
    changing = asyncio.create_task(client.request(method, path, json=user_body()))
    await blocking_hasher.has_started()
    assert (await client.patch(path, json={"full_name": "Natasha"})).status_code == 200
    blocking_hasher.released.set()
    assert (await changing).status_code == 200


@pytest.mark.parametrize(
    ("on_error", "second", "status"),
    [("abort", {}, 201), ("skip", {}, 207), ("abort", {"username": "Natasha"}, 409)],
)
async def test_other_requests_write_while_each_password_of_a_bulk_is_hashed(
    client: Client, monkeypatch: pytest.MonkeyPatch, on_error: str, second: dict[str, str], status: int
) -> None:
    interrupted = WritingHasher(client)
    await new_user(client, username="natasha")
    monkeypatch.setattr(passwords, "hasher", interrupted)
    answer = await client.post(f"/users/bulk?on_error={on_error}", json=[user_body(), user_body(**second)])
    assert answer.status_code == status
    assert set(interrupted.statuses) == {200}
    assert len(interrupted.statuses) >= 2


async def test_too_many_waiting_passwords_are_a_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = passwords.current_queues().others
    monkeypatch.setattr(queue, "max_waiting", 0)
    assert queue.take("another")
    answer = await client.post("/users/", json=user_body())
    queue.release("another")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
