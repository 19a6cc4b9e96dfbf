"""Login limits: bounds on failed logins of an account and from an address, and on registrations from an address."""

import functools
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError

from kit.auth.counters import Counters, Window
from kit.http.events import COUNTS
from kit.http.fairness import network_of
from kit.http.problems import Problem, unavailable

Keys = list[tuple[RateLimitItem, str]]
Attempt = Callable[[], Awaitable[None]]
"""A function that the caller of `LoginLimits.attempt` awaits to count the attempt as failed."""


class LoginLimits:
    """Counts failed logins and registrations in a moving window of `window` seconds.

    `url` is `memory://`, or the URL of a Redis that workers share. The other parameters are the limits in one window.
    An IPv6 address counts as its /64 network.
    """

    def __init__(self, url: str, *, per_account: int, per_address: int, window: int, registrations: int = 50) -> None:
        self.counters = Counters(url, "moving")
        self.under_way: Counter[str] = Counter()
        self.per_account = RateLimitItemPerSecond(per_account, window, "account")
        self.per_address = RateLimitItemPerSecond(per_address, window, "address")
        self.registrations = RateLimitItemPerSecond(registrations, window, "registration")

    @property
    def window(self) -> Window:
        """The counts, accessed through the connections of the running event loop."""
        return self.counters.window

    async def close(self) -> None:
        """Close the connections of the running event loop. A later use opens new ones."""
        await self.counters.close()

    async def count_registration(self, address: str) -> None:
        """Count a registration, successful or not. Raises a 429 with `Retry-After` after too many from an address."""
        key = digest_of(network_of(address))
        try:
            if not await self.window.hit(self.registrations, key):
                raise too_many(await self.seconds_until(self.registrations, key), "Too many registrations")
        except StorageError as failure:
            raise unavailable("not_applied") from failure

    async def seconds_until(self, item: RateLimitItem, key: str) -> int:
        """Return the seconds for `Retry-After`, at least 1: the time until the limit of this key admits more."""
        return max(1, math.ceil((await self.window.get_window_stats(item, key)).reset_time - time.time()))

    def keys(self, account: str, address: str) -> Keys:
        """Return the limit of the account and that of the address, each with its key.

        A key is a digest, so its length does not depend on what the client sends.
        """
        return [
            (self.per_account, digest_of(account.lower())),
            (self.per_address, digest_of(network_of(address))),
        ]

    @asynccontextmanager
    async def attempt(self, account: str, address: str) -> AsyncIterator[Attempt]:
        """Count the `with` block as a login attempt. Yields the function to await if the login failed.

        Raises a 429 with `Retry-After` after too many failures, and a 503 if Redis does not answer. Attempts that have
        not ended count as failed, so that concurrent attempts cannot exceed the limit.
        """
        keys = self.keys(account, address)
        self.under_way.update(key for _, key in keys)
        try:
            await self.check(keys)
            yield functools.partial(self.failed, keys)
        finally:
            self.under_way -= Counter(key for _, key in keys)

    async def check(self, keys: Keys) -> None:
        try:
            for item, key in keys:
                if not await self.window.test(item, key, cost=self.under_way[key]):
                    raise too_many(await self.seconds_until(item, key), "Too many failed attempts")
        except StorageError as failure:
            raise unavailable("not_applied") from failure

    async def failed(self, keys: Keys) -> None:
        try:
            for item, key in keys:
                await self.window.hit(item, key)
        except StorageError as failure:
            raise unavailable("not_applied") from failure


def digest_of(name: str) -> str:
    return blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()


def too_many(seconds: int, what: str) -> Problem:
    COUNTS["refused", "login"] += 1
    detail, headers = f"{what}; try again later.", {"Retry-After": str(seconds)}
    return Problem(429, detail, kind="too-many-attempts", headers=headers)
