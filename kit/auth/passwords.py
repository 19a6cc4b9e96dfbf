"""Passwords: hashed with argon2id in a thread of their own, a bounded number at a time."""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

import pydantic
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import AfterValidator, SecretStr

from kit.http.problems import Problem
from kit.models.types import storable

T = TypeVar("T")
MAX_WAITING = 100
"""Hashes that may wait at a time, so many as are done before a request's deadline; more are refused with a 503."""
OF_NOBODY = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password has; to verify against it takes as long as against a real one."""

hasher = PasswordHash([Argon2Hasher(parallelism=1)])
"""64 MiB and three passes, as in RFC 9106, but in one lane: four are four threads, and leave no core to the others."""
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
    return await beside(lambda: hasher.hash(password.get_secret_value()))


async def verified(password: str, known: str | None) -> tuple[bool, str | None]:
    """Whether it is the password of this hash, and its new hash if the parameters have changed since.

    It takes as long where there is no hash. What cannot be hashed, and a hash that is damaged, is no match.
    """

    def verify() -> tuple[bool, str | None]:
        try:
            return hasher.verify_and_update(password, known or OF_NOBODY)
        except (UnicodeEncodeError, UnknownHashError):
            return False, None

    return await beside(verify)


async def beside(work: Callable[[], T]) -> T:
    """Do this work beside the event loop, after the others that wait; a 503 if those are too many."""
    global waiting
    if waiting >= MAX_WAITING:
        raise Problem(503, "Too many passwords at once; try again.", kind="unavailable", headers={"Retry-After": "1"})
    waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        waiting -= 1
