"""Who are you: passwords, hashed with argon2id off the event loop, a bounded number at a time."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pydantic
from pwdlib import PasswordHash
from pydantic import AfterValidator, SecretStr

from heroes.kit.field import storable
from heroes.kit.problem import Problem

MAX_WAITING = 1000
"""Hashes that may wait at a time, so many as one bulk may bring; more are refused with a 503."""

hasher = PasswordHash.recommended()
waiting = 0


def be_nice() -> None:
    """A hash keeps a core busy for a tenth of a second: let the requests go first."""
    if sys.platform == "linux":  # pragma: no branch  elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, 0, 10)


executor = ThreadPoolExecutor(1, "argon2", initializer=be_nice)


def storable_secret(secret: SecretStr) -> SecretStr:
    storable(secret.get_secret_value())
    return secret


Password = Annotated[SecretStr, AfterValidator(storable_secret), pydantic.Field(min_length=8, max_length=128)]
"""8 to 128 characters; never shown, not in a `repr` either."""


async def hashed(password: SecretStr) -> str:
    """The argon2id hash of a password: 64 MiB and about 0.1 s, in a thread."""
    global waiting
    if waiting >= MAX_WAITING:
        raise Problem(503, "Too many passwords at once; try again.", kind="unavailable", headers={"Retry-After": "1"})
    waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, hasher.hash, password.get_secret_value())
    finally:
        waiting -= 1
