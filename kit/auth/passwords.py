"""Passwords: hashed with argon2id in a thread of their own, one after the other; logins and callers take turns."""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar
from weakref import WeakKeyDictionary

import pydantic
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import AfterValidator, SecretStr

from kit.http.fairness import CURRENT_CALLER, FairSemaphore
from kit.http.problems import Problem
from kit.models.types import storable

T = TypeVar("T")
MAX_WAITING = 100
"""Hashes that may wait at a time, so many as are done before a request's deadline; more are refused with a 503."""
MAX_SECONDS = 10
"""How long a hash may wait."""
OF_NOBODY = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password has; to verify against it takes as long as against a real one."""

hasher = PasswordHash([Argon2Hasher(parallelism=1)])
"""64 MiB and three passes, as in RFC 9106, but in one lane: four are four threads, and leave no core to the others."""
queues: WeakKeyDictionary[asyncio.AbstractEventLoop, FairSemaphore] = WeakKeyDictionary()
"""Of each event loop: one hash is made at a time, and the others wait."""


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
    return await beside("new", lambda: hasher.hash(password.get_secret_value()))


async def verified(password: str, known: str | None) -> tuple[bool, str | None]:
    """Whether it is the password of this hash, and its new hash if the parameters have changed since.

    It takes as long where there is no hash. What cannot be hashed, and a hash that is damaged, is no match.
    """

    def verify() -> tuple[bool, str | None]:
        try:
            return hasher.verify_and_update(password, known or OF_NOBODY)
        except (UnicodeEncodeError, UnknownHashError):
            return False, None

    return await beside("login", verify)


async def beside(lane: str, work: Callable[[], T]) -> T:
    """Do this work in the thread; a 503 if too many wait. The lanes, and the callers in each of them, take turns."""
    queue, turn = current_queue(), f"{lane} {CURRENT_CALLER.get()}"
    if not queue.take(turn) and not await queue.wait(turn, MAX_SECONDS):
        raise Problem(503, "Too many passwords at once; try again.", kind="unavailable", headers={"Retry-After": "1"})
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        queue.release(turn)


def current_queue() -> FairSemaphore:
    loop = asyncio.get_running_loop()
    return queues.get(loop) or queues.setdefault(loop, FairSemaphore(1, MAX_WAITING))
