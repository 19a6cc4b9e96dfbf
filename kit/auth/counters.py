"""Counters of rate limits: hits per key and time window, in the memory of this process or in a shared Redis."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from limits import RateLimitItem, WindowStats, aio, strategies
from limits.storage import MemoryStorage, storage_from_string

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

MEMORY, REDIS = "memory://", ("redis://", "rediss://")
IMPLEMENTATION = "async+redis://"
"""The storage of `limits` for Redis. It gets connections, and would refuse the URL of a server without a port."""
PORT, MAX_PORT = re.compile(r":([^:@\]]*)$"), 65_535
CHECK_SECONDS = 1.0
"""The timeout of the check whether Redis answers."""
STRATEGIES = {
    "fixed": (strategies.FixedWindowRateLimiter, aio.strategies.FixedWindowRateLimiter),
    "moving": (strategies.MovingWindowRateLimiter, aio.strategies.MovingWindowRateLimiter),
}
"""The limiters of the library `limits` by strategy, each as the synchronous and the asynchronous class.

A fixed window begins with its first hit. A moving window is the time until now, and stores the time of each hit.
"""


def refuse_other_storage(url: str) -> None:
    """Raise a ValueError unless the URL is `memory://`, or one of a Redis server, with options that Redis has."""
    if url == MEMORY:
        return
    if not url.startswith(REDIS):
        raise ValueError("must be memory://, redis://… or rediss://…")
    server, _, database = url.partition("://")[2].partition("?")[0].partition("/")
    port = PORT.search(server)
    is_port = port is None or (port[1].isdecimal() and 0 < int(port[1]) <= MAX_PORT)
    if not is_port or not re.fullmatch(r"\d*", database):
        raise ValueError("must have numbers as port and database, as in redis://host:6379/0")
    redis: Any = import_module("redis.asyncio")  # takes long to import
    try:
        redis.ConnectionPool.from_url(url).make_connection()
    except (TypeError, ValueError, redis.RedisError):  # without its message, which may contain the password
        raise ValueError("has an invalid host or option: write it as in redis://host:6379/0?socket_timeout=1") from None


class MemoryWindow:
    """Counts in the memory of this process, for all its event loops. Its methods are coroutines that never wait."""

    def __init__(self, limiter: strategies.RateLimiter) -> None:
        self.limiter = limiter

    async def test(self, item: RateLimitItem, key: str, *, cost: int = 1) -> bool:
        return self.limiter.test(item, key, cost=cost)

    async def hit(self, item: RateLimitItem, key: str, *, cost: int = 1) -> bool:
        return self.limiter.hit(item, key, cost=cost)

    async def get_window_stats(self, item: RateLimitItem, key: str) -> WindowStats:
        return self.limiter.get_window_stats(item, key)


Window = MemoryWindow | aio.strategies.RateLimiter


class Counters:
    """Counts hits. `url` is `memory://` or the URL of a Redis; `strategy` is `fixed` or `moving`.

    Each event loop has its own connections to Redis, with the same counts.
    """

    def __init__(self, url: str, strategy: str) -> None:
        refuse_other_storage(url)
        self.url = url
        in_memory, self._strategy = STRATEGIES[strategy]
        self._in_memory = MemoryWindow(in_memory(MemoryStorage())) if url == MEMORY else None
        self._windows: WeakKeyDictionary[asyncio.AbstractEventLoop, Window] = WeakKeyDictionary()
        self._ends: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]] = WeakKeyDictionary()

    @property
    def window(self) -> Window:
        """The counts, accessed through the connections of the running event loop."""
        return self._in_memory or self._window_of(asyncio.get_running_loop())

    def _window_of(self, loop: asyncio.AbstractEventLoop) -> Window:
        known = self._windows.get(loop)
        return self._new_window(loop) if known is None else known

    def _new_window(self, loop: asyncio.AbstractEventLoop) -> Window:
        pool: Any = import_module("redis.asyncio").ConnectionPool.from_url(self.url)
        self._ends[loop] = end = self._close_at_end(loop, pool)
        with suppress(StopIteration):
            end.asend(None).send(None)  # runs to the `yield`, so that the loop knows the generator and will close it
        options: Any = {"implementation": "redispy", "connection_pool": pool}
        storage = storage_from_string(IMPLEMENTATION, wrap_exceptions=True, **options)
        assert isinstance(storage, aio.storage.Storage)
        self._windows[loop] = window = self._strategy(storage)
        return window

    async def _close_at_end(self, loop: asyncio.AbstractEventLoop, pool: "ConnectionPool") -> AsyncGenerator[None]:
        """Wait, as an asynchronous generator, for the event loop to shut down, and close the connections to Redis."""
        try:
            yield
        finally:
            self._windows.pop(loop, None)
            self._ends.pop(loop, None)
            await pool.aclose()

    async def is_reachable(self) -> bool | None:
        """Return whether Redis answers, within `CHECK_SECONDS`; None if the counts are in memory."""
        window = self.window
        if isinstance(window, MemoryWindow):
            return None
        is_there = False
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                is_there = await window.storage.check()
        return is_there

    async def close(self) -> None:
        """Close the connections of the running event loop. A later use opens new ones."""
        end = self._ends.pop(asyncio.get_running_loop(), None)
        if end is not None:
            await end.aclose()
