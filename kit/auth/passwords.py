"""Passwords: hashed with argon2id in a thread of their own, one at a time, first for callers with few hashes."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar
from unicodedata import category
from weakref import WeakKeyDictionary

import pydantic
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import AfterValidator, SecretStr

from kit.http.encoding import TooManyMarksError, composed
from kit.http.fairness import CURRENT_CALLER, Caller, FairSemaphore
from kit.http.problems import Problem
from kit.models.types import storable

T = TypeVar("T")
MAX_WAITING = 100
"""The largest number of waiting hashes, which are done before the deadline of a request; others are a 503."""
MAX_SECONDS = 10
"""The longest wait of a hash, in seconds."""
HALVING_SECONDS = 60
"""Seconds after which the count of a caller's hashes is halved."""
UNKNOWN_USER_HASH = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password has, verified for unknown users, so that their logins take as long as others."""

hasher = PasswordHash([Argon2Hasher(parallelism=1)])
"""64 MiB and three passes as in RFC 9106, but one lane: four lanes are four threads, which would use all cores."""


class HashQueue(FairSemaphore):
    """Computes one hash at a time. The next one is for the caller with the fewest recent hashes of its kind.

    So a login waits only for the running hash and its own, however many hashes other callers request.
    """

    def __init__(self, max_waiting: int) -> None:
        super().__init__(1, max_waiting)
        self.lately: Counter[Caller] = Counter()
        self.next_halving = 0.0

    def following(self) -> Caller:
        return min(self.queues, key=self.lately.__getitem__)

    def count(self, caller: Caller) -> None:
        """Count a hash. Every `HALVING_SECONDS` the counts are halved, and forgotten when they are below one."""
        now = asyncio.get_running_loop().time()
        if now > self.next_halving:
            self.next_halving = now + HALVING_SECONDS
            self.lately = Counter({other: count // 2 for other, count in self.lately.items() if count > 1})
        self.lately[caller] += 1


queues: WeakKeyDictionary[asyncio.AbstractEventLoop, HashQueue] = WeakKeyDictionary()
"""The queue of each event loop."""


def lower_priority() -> None:
    """Lower the priority of this thread: a hash uses a core for 0.1 s, and requests take precedence."""
    if sys.platform == "linux":  # pragma: no branch  elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, 0, 10)


executor = ThreadPoolExecutor(1, "argon2", initializer=lower_priority)


def storable_secret(secret: SecretStr) -> SecretStr:
    composed(storable(secret.get_secret_value()))
    return secret


Password = Annotated[SecretStr, AfterValidator(storable_secret), pydantic.Field(min_length=8, max_length=128)]
"""8 to 128 characters; never shown, not in a `repr` either."""


def prepared(password: str) -> str:
    """Return the password as it is hashed: with plain blanks, in the form NFC (RFC 8265, OpaqueString)."""
    if password.isascii():
        return password
    return composed("".join(" " if category(character) == "Zs" else character for character in password))


async def hashed(password: SecretStr) -> str:
    """Return the argon2id hash of a password: 64 MiB and about 0.1 s, in a thread."""
    return await run_in_turn("new", lambda: hasher.hash(prepared(password.get_secret_value())))


async def verified(password: str, known: str | None) -> tuple[bool, str | None]:
    """Return whether a password matches a hash, and a new hash if the hash has old parameters.

    It takes the same time without a hash. A damaged hash, and a password that cannot be hashed, do not match.
    """

    def verify() -> tuple[bool, str | None]:
        try:
            return hasher.verify_and_update(prepared(password), known or UNKNOWN_USER_HASH)
        except (UnicodeEncodeError, UnknownHashError, TooManyMarksError):
            return False, None

    return await run_in_turn("login", verify)


async def run_in_turn(kind: str, work: Callable[[], T]) -> T:
    """Execute work in the thread, and return its result. Raises a 503 if too many wait.

    The kinds of work (`new`, `login`) and the callers of each kind take turns.
    """
    queue, turn = current_queue(), f"{kind} {CURRENT_CALLER.get()}"
    if not queue.take(turn) and not await queue.wait(turn, MAX_SECONDS):
        raise Problem(
            503, "Too many passwords are being hashed; try again.", kind="unavailable", headers={"Retry-After": "1"}
        )
    queue.count(turn)
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        queue.release(turn)


def current_queue() -> HashQueue:
    loop = asyncio.get_running_loop()
    return queues.get(loop) or queues.setdefault(loop, HashQueue(MAX_WAITING))
