"""Login limits: how many failed logins an account, and an address, may have within a window of time."""

import asyncio
import functools
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from weakref import WeakKeyDictionary

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from kit.http.problems import Problem, unavailable

Keys = list[tuple[RateLimitItem, str]]
Attempt = Callable[[], Awaitable[None]]
"""To be called if the attempt has failed."""


class LoginLimits:
    """Counts failures, each for `window` seconds; `url` is `memory://`, or a Redis that several workers share.

    Connections and locks belong to an event loop, so each loop has a storage of its own; the counts are the same.
    """

    def __init__(self, url: str, *, per_account: int, per_address: int, window: int) -> None:
        self.url = url
        self._first = self._new_storage()
        self._windows: WeakKeyDictionary[asyncio.AbstractEventLoop, MovingWindowRateLimiter] = WeakKeyDictionary()
        self._ends: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]] = WeakKeyDictionary()
        self.under_way: Counter[str] = Counter()
        self.per_account = RateLimitItemPerSecond(per_account, window, "account")
        self.per_address = RateLimitItemPerSecond(per_address, window, "address")

    @property
    def window(self) -> MovingWindowRateLimiter:
        """The counts, as the running event loop reaches them."""
        loop = asyncio.get_running_loop()
        known = self._windows.get(loop)
        if known is None:
            storage = self._new_storage()
            known = self._windows[loop] = MovingWindowRateLimiter(storage)
            self._ends[loop] = end = self._close_at_end(loop, storage)
            with suppress(StopIteration):
                end.asend(None).send(None)  # runs to the `yield`, without anything to wait for
        return known

    def _new_storage(self) -> Storage:
        options = {"implementation": "redispy"} if self.url.startswith("redis") else {}
        storage = storage_from_string(f"async+{self.url}", wrap_exceptions=True, **options)
        assert isinstance(storage, Storage)
        if isinstance(storage, MemoryStorage) and hasattr(self, "_first"):
            first = self._first
            assert isinstance(first, MemoryStorage)
            storage.events, storage.storage, storage.expirations = first.events, first.storage, first.expirations
        return storage

    async def _close_at_end(self, loop: asyncio.AbstractEventLoop, storage: Storage) -> AsyncGenerator[None]:
        """Closes the connections to Redis when the event loop closes its asynchronous generators, before it ends."""
        try:
            yield
        finally:
            self._windows.pop(loop, None)
            self._ends.pop(loop, None)
            client = getattr(getattr(storage, "bridge", None), "storage", None)
            if client is not None:
                await client.aclose()

    def keys(self, account: str, address: str) -> Keys:
        """Under digests, so that nobody decides how long a key is."""
        named = [(self.per_account, account.lower()), (self.per_address, address)]
        return [(item, blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()) for item, name in named]

    @asynccontextmanager
    async def attempt(self, account: str, address: str) -> AsyncIterator[Attempt]:
        """A 429 for who failed too often; `Retry-After` says when the next try is open.

        Those who are at it count as if they had failed: many guesses at once are no way around.
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
