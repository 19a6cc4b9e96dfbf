"""Login limits: bounds on the failed logins of an account and from an address within a time window."""

import asyncio
import functools
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from limits import RateLimitItem, RateLimitItemPerSecond, WindowStats, aio
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter
from redis.asyncio import ConnectionPool

from kit.http.problems import Problem, unavailable

Keys = list[tuple[RateLimitItem, str]]
Attempt = Callable[[], Awaitable[None]]
"""A function that counts the attempt as failed."""
MEMORY, REDIS = "memory://", ("redis://", "rediss://")


class MemoryWindow:
    """Counts in the memory of this process, shared by its event loops. No method suspends."""

    def __init__(self) -> None:
        self.limiter = MovingWindowRateLimiter(MemoryStorage())

    async def test(self, item: RateLimitItem, key: str, *, cost: int) -> bool:
        return self.limiter.test(item, key, cost=cost)

    async def hit(self, item: RateLimitItem, key: str) -> bool:
        return self.limiter.hit(item, key)

    async def get_window_stats(self, item: RateLimitItem, key: str) -> WindowStats:
        return self.limiter.get_window_stats(item, key)


Window = MemoryWindow | aio.strategies.MovingWindowRateLimiter


class LoginLimits:
    """Counts failures for `window` seconds. `url` is `memory://`, or a Redis that several workers share.

    Each event loop has its own connections to Redis, with the same counts.
    """

    def __init__(self, url: str, *, per_account: int, per_address: int, window: int) -> None:
        if url != MEMORY and not url.startswith(REDIS):
            raise ValueError("Login limits need the URL memory://, redis://… or rediss://….")
        self.url = url
        self._in_memory = MemoryWindow() if url == MEMORY else None
        self._windows: WeakKeyDictionary[asyncio.AbstractEventLoop, Window] = WeakKeyDictionary()
        self._ends: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]] = WeakKeyDictionary()
        self.under_way: Counter[str] = Counter()
        self.per_account = RateLimitItemPerSecond(per_account, window, "account")
        self.per_address = RateLimitItemPerSecond(per_address, window, "address")

    @property
    def window(self) -> Window:
        """The counts, accessed through the connections of the running event loop."""
        return self._in_memory or self._window_of(asyncio.get_running_loop())

    def _window_of(self, loop: asyncio.AbstractEventLoop) -> Window:
        known = self._windows.get(loop)
        return self._new_window(loop) if known is None else known

    def _new_window(self, loop: asyncio.AbstractEventLoop) -> Window:
        pool: Any = ConnectionPool.from_url(self.url)
        self._ends[loop] = end = self._close_at_end(loop, pool)
        with suppress(StopIteration):
            end.asend(None).send(None)  # runs to the `yield`, without anything to wait for
        options: Any = {"implementation": "redispy", "connection_pool": pool}
        storage = storage_from_string(f"async+{self.url}", wrap_exceptions=True, **options)
        assert isinstance(storage, aio.storage.Storage)
        self._windows[loop] = window = aio.strategies.MovingWindowRateLimiter(storage)
        return window

    async def _close_at_end(self, loop: asyncio.AbstractEventLoop, pool: ConnectionPool) -> AsyncGenerator[None]:
        """Close the connections to Redis when the event loop closes its asynchronous generators, before it ends."""
        try:
            yield
        finally:
            self._windows.pop(loop, None)
            self._ends.pop(loop, None)
            await pool.aclose()

    async def close(self) -> None:
        """Close the connections of the running event loop. A later use opens new ones."""
        end = self._ends.pop(asyncio.get_running_loop(), None)
        if end is not None:
            await end.aclose()

    def keys(self, account: str, address: str) -> Keys:
        """Return the limits, each with the digest of a name: the length of a key does not depend on the client."""
        named = [(self.per_account, account.lower()), (self.per_address, address)]
        return [(item, blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()) for item, name in named]

    @asynccontextmanager
    async def attempt(self, account: str, address: str) -> AsyncIterator[Attempt]:
        """Admit a login attempt. Raises a 429 with `Retry-After` after too many failures.

        Running attempts count as failed, so that concurrent attempts cannot exceed the limit.
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
                    wait = (await self.window.get_window_stats(item, key)).reset_time - time.time()
                    raise too_many(max(1, math.ceil(wait)))
        except StorageError as failure:
            raise unavailable("not_applied") from failure

    async def failed(self, keys: Keys) -> None:
        try:
            for item, key in keys:
                await self.window.hit(item, key)
        except StorageError as failure:
            raise unavailable("not_applied") from failure


def too_many(seconds: int) -> Problem:
    detail = "Too many failed attempts; try again later."
    return Problem(429, detail, kind="too-many-attempts", headers={"Retry-After": str(seconds)})
