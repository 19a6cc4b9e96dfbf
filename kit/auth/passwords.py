"""Password hashing with argon2id, in two threads: one for logins, one for new passwords. Queues limit each caller."""

import asyncio
import os
import re
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
from pydantic_core import PydanticCustomError, PydanticKnownError

from kit.http.encoding import TooManyMarksError, composed
from kit.http.fairness import CURRENT_CALLER, Caller, FairSemaphore, Waiter
from kit.http.problems import Problem
from kit.models.types import storable

T = TypeVar("T")
MAX_WAITING = 100
"""The maximum length of a queue, about the number of hashes that a thread makes in `MAX_SECONDS`. Beyond it: a 503."""
MAX_OF_CALLER = 15
"""The maximum number of waiting hashes of one caller. Beyond it: a 429."""
MAX_SECONDS = 10
"""The maximum wait in a queue, in seconds. Then the request gets a 503."""
EXPENSIVE, HALVING_SECONDS = 20, 60
"""The cost of a new password or a failed login, where a successful login costs 1; and the half-life of costs."""
SUSPICIOUS = 100
"""From these costs on (five failed logins), the logins of a caller wait in the queue for new passwords."""
UNKNOWN_USER_HASH = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password matches. Logins of unknown users are verified with it, to take as long as others."""

hasher = PasswordHash([Argon2Hasher(parallelism=1)])
"""64 MiB and three passes as in RFC 9106, but one lane instead of four: lanes are threads, and four use all cores."""


class Costs(Counter[Caller]):
    """The recent costs of each caller: `EXPENSIVE` for each new password or failed login, 1 for each other login."""

    next_halving = 0.0

    def add(self, caller: Caller, cost: int) -> None:
        """Add to the costs of a caller. The costs of all are halved every `HALVING_SECONDS`, and dropped below 1."""
        now = asyncio.get_running_loop().time()
        if now > self.next_halving:
            self.next_halving = now + HALVING_SECONDS
            halved = {other: costs // 2 for other, costs in self.items() if costs > 1}
            self.clear()
            self.update(halved)
        self[caller] += cost


class HashQueue(FairSemaphore):
    """The queue of a hashing thread, which makes one hash at a time. The caller with the lowest costs is next."""

    def __init__(self, max_waiting: int, costs: Costs) -> None:
        super().__init__(1, max_waiting)
        self.costs = costs

    def next_waiter(self) -> tuple[Caller, Waiter]:
        caller = min(self.queues, key=self.costs.__getitem__)
        return caller, next(iter(self.queues[caller]))


class Queues:
    """The hashing queues of an event loop: one for logins, one for new passwords and callers with high recent costs.

    Registrations and guessed passwords therefore do not delay the logins of others.
    """

    def __init__(self) -> None:
        self.costs = Costs()
        self.logins, self.others = HashQueue(MAX_WAITING, self.costs), HashQueue(MAX_WAITING, self.costs)


queues: WeakKeyDictionary[asyncio.AbstractEventLoop, Queues] = WeakKeyDictionary()


def lower_priority() -> None:
    """Lower the priority of this thread: a hash uses a core for 0.1 s, and requests take precedence."""
    if sys.platform == "linux":  # pragma: no branch  elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, 0, 10)


logins, others = ThreadPoolExecutor(1, "argon2-login"), ThreadPoolExecutor(1, "argon2", initializer=lower_priority)
"""The threads. That for logins keeps the usual priority: under load, a low one would make logins much slower."""


MIN_LENGTH, MAX_LENGTH = 8, 128
CONTROL = "\\u0000-\\u001f\\u007f-\\u009f"
WITHOUT_CONTROL = re.compile(f"[^{CONTROL}]*")


def storable_secret(secret: SecretStr) -> SecretStr:
    if len(secret) < MIN_LENGTH:  # pydantic's own message calls the characters items
        raise PydanticKnownError("string_too_short", {"min_length": MIN_LENGTH})
    if len(secret) > MAX_LENGTH:
        raise PydanticKnownError("string_too_long", {"max_length": MAX_LENGTH})
    text = composed(storable(secret.get_secret_value()))
    if not WITHOUT_CONTROL.fullmatch(text):
        raise PydanticCustomError("password_control", "A password may not contain control characters")
    return secret


Password = Annotated[
    SecretStr,
    AfterValidator(storable_secret),
    pydantic.Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH, json_schema_extra={"pattern": f"^[^{CONTROL}]*$"}),
]
"""8 to 128 characters, without control characters (RFC 8265, OpaqueString); never shown, not in a `repr` either."""


def prepared(password: str) -> str:
    """Return the form of a password that is hashed: NFC, with ASCII spaces for others (RFC 8265, OpaqueString)."""
    if password.isascii():
        return password
    return composed("".join(" " if category(character) == "Zs" else character for character in password))


async def hashed(password: SecretStr) -> str:
    """Return the argon2id hash of a new password. Takes 64 MiB and about 0.1 s in a thread. Raises a 429 or 503."""
    return await run_in_queue("new", lambda: hasher.hash(prepared(password.get_secret_value())), EXPENSIVE)


async def verified(password: str, known: str | None) -> tuple[bool, str | None]:
    """Return whether a password matches a known hash, and a new hash to store if the known one has old parameters.

    For an unknown user (None) it takes the same time. A damaged hash, or a password that cannot be hashed, does not
    match. Raises a 429 or 503 if too many wait.
    """

    def verify() -> tuple[bool, str | None]:
        try:
            return hasher.verify_and_update(prepared(password), known or UNKNOWN_USER_HASH)
        except (UnicodeEncodeError, UnknownHashError, TooManyMarksError):
            return False, None

    matches, new = await run_in_queue("login", verify, 1)
    if not matches:
        current_queues().costs.add(queue_key("login"), EXPENSIVE - 1)
    return matches, new


def queue_key(purpose: str) -> str:
    return f"{purpose} {CURRENT_CALLER.get()}"


async def run_in_queue(purpose: str, work: Callable[[], T], cost: int) -> T:
    """Execute `work` in a hashing thread, and return its result. `purpose` is `login` or `new`.

    Raises a 503 if too many wait, or if it waits longer than `MAX_SECONDS`; a 429 if too many are of this caller,
    because each waiting request occupies one of the `MAX_IN_FLIGHT` slots.
    """
    found, key = current_queues(), queue_key(purpose)
    has_priority = purpose == "login" and found.costs[key] < SUSPICIOUS
    queue, thread = (found.logins, logins) if has_priority else (found.others, others)
    if len(queue.queues.get(key, ())) >= MAX_OF_CALLER:
        detail, headers = "You send too many passwords at once; try again.", {"Retry-After": "1"}
        raise Problem(429, detail, kind="too-many-requests", headers=headers)
    if not queue.take(key) and not await queue.wait(key, MAX_SECONDS):
        raise Problem(503, "Too many passwords at once; try again.", kind="unavailable", headers={"Retry-After": "1"})
    found.costs.add(key, cost)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        queue.release(key)


def current_queues() -> Queues:
    loop = asyncio.get_running_loop()
    return queues.get(loop) or queues.setdefault(loop, Queues())
