"""Password hashers for tests: a cheap one, and one that blocks until the test releases it."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from kit.auth import passwords
from tests.waiting import TIMEOUT_SECONDS

CHEAP = PasswordHash([Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)])
UNKNOWN_USER_HASH = CHEAP.hash("nobody knows it")
"""The hash that is verified for an unknown user, which must also be cheap."""


def cheapen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(passwords, "hasher", CHEAP)
    patch.setattr(passwords, "UNKNOWN_USER_HASH", UNKNOWN_USER_HASH)


class BlockingHasher:
    """A hasher that blocks until it is released, except for the first `free` hashes."""

    def __init__(self) -> None:
        self.started, self.released, self.threads = threading.Event(), threading.Event(), set[str]()
        self.free, self.is_right = 0, True

    def hash(self, password: str) -> str:
        self.threads.add(threading.current_thread().name)
        self.free -= 1
        if self.free < 0:
            self.started.set()
            assert self.released.wait(TIMEOUT_SECONDS)
        return f"$argon2id${len(password)}"

    def verify_and_update(self, password: str, _known: str) -> tuple[bool, None]:
        return bool(self.hash(password)) and self.is_right, None

    async def has_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, TIMEOUT_SECONDS)


@pytest.fixture
def blocking_hasher(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingHasher]:
    blocking_hasher = BlockingHasher()
    monkeypatch.setattr(passwords, "hasher", blocking_hasher)
    yield blocking_hasher
    blocking_hasher.released.set()
