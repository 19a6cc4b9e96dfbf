"""Rate limits: the requests of one caller per minute, announced in the header fields of the IETF's draft.

The draft is draft-ietf-httpapi-ratelimit-headers-11. A caller is a user, or an address without a valid token (for IPv6
its /64 network). The counters would be too slow for each request, above all in Redis, so this process takes a part of
the quota from them at a time, and counts it down by itself:

    no part, or its window has ended --request--> takes a part from the counters
    part taken --request--> one less, until none is left
    counters have none left --request--> refused until the window ends
"""

import logging
import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError

from kit.auth.counters import Counters
from kit.http.events import COUNTS
from kit.http.fairness import Caller
from kit.http.problems import Problem

log = logging.getLogger("kit")
Header = tuple[bytes, bytes]
MINUTE = 60
PARTS = 20
"""The least number of parts of a quota. Each worker may keep one that it does not use."""
MAX_CALLERS = 10_000
"""The largest number of callers whose parts are remembered."""


@dataclass
class Part:
    """A part of a caller's quota, taken by this process: `left` here, `beyond` in the counters, in this window."""

    left: int = 0
    beyond: int = 0
    until: float = 0
    is_renewed: bool = False
    """Whether a request takes the next part from the counters. Requests that arrive meanwhile are served."""


class Policy:
    """A quota of requests per minute, for the callers of a kind."""

    def __init__(self, name: str, quota: int) -> None:
        self.name, self.quota = name, quota
        self.item: RateLimitItem = RateLimitItemPerMinute(quota, 1, name)
        self.size = next(size for size in range(max(1, quota // PARTS), 0, -1) if quota % size == 0)
        """The number of requests in a part, a divisor of the quota, so that no request of it is lost."""
        self.announced: Header = (b"ratelimit-policy", f'"{name}";q={quota};w={MINUTE}'.encode())
        self.parts: dict[Caller, Part] = {}

    def part_of(self, caller: Caller) -> Part:
        part = self.parts.get(caller)
        if part is None:
            part = self.parts[caller] = Part()
            if len(self.parts) > MAX_CALLERS:
                del self.parts[next(iter(self.parts))]
        return part

    def state(self, part: Part) -> Header:
        """Return the header field `RateLimit`: the remaining quota, and the seconds until the window ends."""
        seconds = max(0, math.ceil(part.until - time.time()))
        return b"ratelimit", b'"%s";r=%d;t=%d' % (self.name.encode(), max(0, part.left + part.beyond), seconds)


class RateLimits:
    """At most `per_user` requests of a user, and `per_address` of an address without a token, per minute.

    0 is no limit. `url` is `memory://`, or a Redis that several workers share. While Redis is away, each worker counts
    by itself.
    """

    def __init__(self, url: str, *, per_user: int, per_address: int) -> None:
        self.counters, self.alone = Counters(url, "fixed"), Counters("memory://", "fixed")
        self.is_alone = False
        self.of_users = Policy("user", per_user) if per_user else None
        self.of_addresses = Policy("address", per_address) if per_address else None

    async def close(self) -> None:
        await self.counters.close()

    async def admit(self, caller: Caller) -> tuple[Header, ...]:
        """Count a request. Returns the header fields of its response; raises a 429 if the quota is used up.

        `left` is negative if requests arrived while a part was taken.
        """
        policy = self.of_users if isinstance(caller, int) else self.of_addresses
        if policy is None:
            return ()
        part = policy.part_of(caller)
        if (part.left <= 0 or time.time() >= part.until) and not part.is_renewed:
            part.is_renewed = True
            try:
                await self.renew(policy, part, str(caller))
            finally:
                part.is_renewed = False
            if part.left + part.beyond <= 0:
                raise used_up(policy, part)
        part.left -= 1
        return policy.announced, policy.state(part)

    async def renew(self, policy: Policy, part: Part, key: str) -> None:
        """Take the next part from the counters, unless they have none left."""
        if time.time() >= part.until:
            part.left = part.beyond = 0
        elif not part.beyond:
            return
        try:
            await take(self.counters, policy, part, key)
            self.note(is_alone=False)
        except StorageError as failure:
            await take(self.alone, policy, part, key)
            self.note(is_alone=True, reason=failure)

    def note(self, *, is_alone: bool, reason: object = "the store is back") -> None:
        """Log when Redis goes away, and when it comes back."""
        if is_alone is not self.is_alone:
            self.is_alone = is_alone
            log.warning("Rate limits are counted by %s: %s", "each process" if is_alone else "all together", reason)


async def take(counters: Counters, policy: Policy, part: Part, key: str) -> None:
    window = counters.window
    is_taken = await window.hit(policy.item, key, cost=policy.size)
    part.until, part.beyond = await window.get_window_stats(policy.item, key)
    part.left += policy.size if is_taken else 0


def used_up(policy: Policy, part: Part) -> Problem:
    """Return a 429 (RFC 6585, section 4) until the window ends."""
    COUNTS["refused", "rate"] += 1
    fields = dict((policy.announced, policy.state(part)))
    headers = {name.decode(): value.decode() for name, value in fields.items()}
    seconds = max(1, math.ceil(part.until - time.time()))
    detail = f"You may send {policy.quota} requests per minute; wait for the next."
    return Problem(429, detail, kind="too-many-requests", headers={"Retry-After": str(seconds), **headers})
