"""Rate limits: quotas of requests per minute for each caller, reported by the header fields of an IETF draft.

The fields are those of draft-ietf-httpapi-ratelimit-headers-11. A caller is a user, or an address without a valid token
(for IPv6 its /64 network). Counting each request in Redis would be too slow. Therefore each process leases a part of
the quota from the shared counters, and counts it down by itself:

    no lease, or its window has ended --request--> takes a lease from the counters
    lease with requests left --request--> one less
    quota used up --request--> refused until the window ends
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError

from kit.auth.counters import Counters
from kit.http.events import COUNTS
from kit.http.fairness import Caller
from kit.http.problems import Problem
from kit.http.request_headers import Header

log = logging.getLogger("kit")
MINUTE = 60
LEASES_PER_QUOTA = 20
"""The minimum number of leases of a quota. Each worker may hold a lease that it does not use up."""
MAX_CALLERS = 10_000
"""The maximum number of callers whose leases are stored. Beyond it, the oldest is dropped."""


@dataclass
class Lease:
    """The lease of a caller: `left` requests for this process, and `remaining` in the shared counters.

    Both are for the window that ends at `window_end` (Unix time).
    """

    left: int = 0
    remaining: int = 0
    window_end: float = 0
    is_renewing: bool = False
    """Whether a request is getting the next lease from the counters. Requests that arrive meanwhile are admitted."""


class Policy:
    """A quota of requests per minute for each caller of a kind (`user` or `address`), and the leases of the callers."""

    def __init__(self, name: str, quota: int) -> None:
        self.name, self.quota = name, quota
        self.item: RateLimitItem = RateLimitItemPerMinute(quota, 1, name)
        self.size = next(size for size in range(max(1, quota // LEASES_PER_QUOTA), 0, -1) if quota % size == 0)
        """The number of requests in a lease: a divisor of the quota, so that the leases add up to it."""
        self.policy_field: Header = (b"ratelimit-policy", f'"{name}";q={quota};w={MINUTE}'.encode())
        self.state_format = b'"%s";r=%%d;t=%%d' % name.encode()
        self.leases: dict[Caller, Lease] = {}

    def lease_of(self, caller: Caller) -> Lease:
        lease = self.leases.get(caller)
        if lease is None:
            lease = self.leases[caller] = Lease()
            if len(self.leases) > MAX_CALLERS:
                del self.leases[next(iter(self.leases))]
        return lease

    def state(self, lease: Lease) -> Header:
        """Return the header field `RateLimit`, with the remaining quota and the seconds until the window ends."""
        seconds = max(0, math.ceil(lease.window_end - time.time()))
        return b"ratelimit", self.state_format % (max(0, lease.left + lease.remaining), seconds)


class RateLimits:
    """Admits `per_user` requests of each user, and `per_address` of each address without a token, per minute.

    0 means no limit. `url` is `memory://`, or the URL of a Redis that workers share. While Redis is unavailable, each
    worker counts separately.
    """

    def __init__(self, url: str, *, per_user: int, per_address: int) -> None:
        self.counters, self.local_counters = Counters(url, "fixed"), Counters("memory://", "fixed")
        self.counts_locally = False
        self.of_users = Policy("user", per_user) if per_user else None
        self.of_addresses = Policy("address", per_address) if per_address else None

    async def close(self) -> None:
        await self.counters.close()

    async def admit(self, caller: Caller) -> Sequence[Header]:
        """Count a request. Returns the header fields for its response. Raises a 429 if the quota is used up."""
        fields = self.admit_by_lease(caller)
        if fields is not None:
            return fields
        policy = self.policy_of(caller)
        assert policy is not None
        lease = policy.lease_of(caller)
        lease.is_renewing = True
        try:
            await self.renew(policy, lease, str(caller))
        finally:
            lease.is_renewing = False
        if lease.left + lease.remaining <= 0:
            raise quota_exceeded(policy, lease)
        lease.left -= 1
        return policy.policy_field, policy.state(lease)

    def admit_by_lease(self, caller: Caller) -> Sequence[Header] | None:
        """Count a request as `admit` does, but without waiting. Returns None if a new lease is needed.

        `left` may become negative by requests that arrive while another gets a lease.
        """
        policy = self.policy_of(caller)
        if policy is None:
            return ()
        lease = policy.leases.get(caller) or policy.lease_of(caller)
        if (lease.left <= 0 or time.time() >= lease.window_end) and not lease.is_renewing:
            return None
        lease.left -= 1
        return policy.policy_field, policy.state(lease)

    def policy_of(self, caller: Caller) -> Policy | None:
        return self.of_users if isinstance(caller, int) else self.of_addresses

    async def renew(self, policy: Policy, lease: Lease, key: str) -> None:
        """Get the next lease from the counters, unless the quota is used up."""
        if time.time() >= lease.window_end:
            lease.left = lease.remaining = 0
        elif not lease.remaining:
            return
        try:
            await take(self.counters, policy, lease, key)
            self.log_change(locally=False)
        except StorageError as failure:
            await take(self.local_counters, policy, lease, key)
            self.log_change(locally=True, reason=failure)

    def log_change(self, *, locally: bool, reason: object = "the store is back") -> None:
        """Log when Redis becomes unavailable, and when it is available again."""
        if locally is not self.counts_locally:
            self.counts_locally = locally
            log.warning("Rate limits are counted by %s: %s", "each process" if locally else "all together", reason)


async def take(counters: Counters, policy: Policy, lease: Lease, key: str) -> None:
    window = counters.window
    is_taken = await window.hit(policy.item, key, cost=policy.size)
    lease.window_end, lease.remaining = await window.get_window_stats(policy.item, key)
    lease.left += policy.size if is_taken else 0


def quota_exceeded(policy: Policy, lease: Lease) -> Problem:
    """Return a 429 (RFC 6585, section 4) with `Retry-After` until the end of the window, and count it."""
    COUNTS["refused", "rate"] += 1
    fields = dict((policy.policy_field, policy.state(lease)))
    headers = {name.decode(): value.decode() for name, value in fields.items()}
    seconds = max(1, math.ceil(lease.window_end - time.time()))
    detail = f"You may send {policy.quota} requests per minute; wait for the next."
    return Problem(429, detail, kind="too-many-requests", headers={"Retry-After": str(seconds), **headers})
