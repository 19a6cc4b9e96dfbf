"""How often may it be tried: so many failures for an account and for an address, within a while."""

import math
import time
from hashlib import blake2b

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from heroes.kit.problem import Problem, unavailable


class Throttle:
    """Counts failures, each for `window` seconds; `url` is `memory://`, or a Redis that several workers share.

    Who guesses many passwords at once gets no more than one guess for each place in the queue of hashes.
    """

    def __init__(self, url: str, *, per_account: int, per_address: int, window: int) -> None:
        options = {"implementation": "redispy"} if url.startswith("redis") else {}
        storage = storage_from_string(f"async+{url}", wrap_exceptions=True, **options)
        assert isinstance(storage, Storage)
        self.window = MovingWindowRateLimiter(storage)
        self.per_account = RateLimitItemPerSecond(per_account, window, "account")
        self.per_address = RateLimitItemPerSecond(per_address, window, "address")

    def keys(self, account: str, address: str) -> list[tuple[RateLimitItem, str]]:
        """Under digests, so that nobody decides how long a key is."""
        named = [(self.per_account, account.lower()), (self.per_address, address)]
        return [(item, blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()) for item, name in named]

    async def check(self, account: str, address: str) -> None:
        """A 429 for who failed too often; `Retry-After` says when the next try is open."""
        try:
            for item, key in self.keys(account, address):
                if not await self.window.test(item, key):
                    wait = (await self.window.get_window_stats(item, key)).reset_time - time.time()
                    raise too_many(max(1, math.ceil(wait)))
        except StorageError as failure:
            raise unavailable("not_applied") from failure

    async def failed(self, account: str, address: str) -> None:
        try:
            for item, key in self.keys(account, address):
                await self.window.hit(item, key)
        except StorageError as failure:
            raise unavailable("not_applied") from failure


def too_many(seconds: int) -> Problem:
    detail = "Too many failed attempts; try again later."
    return Problem(429, detail, kind="too-many-attempts", headers={"Retry-After": str(seconds)})
