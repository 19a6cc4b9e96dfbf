"""Slots: the limits of concurrent requests and streams, and the problems for requests that get no slot."""

from collections import Counter

from kit.http.bodies import BodyMemory
from kit.http.events import COUNTS
from kit.http.fairness import Caller, FairSemaphore
from kit.http.problems import Problem, unavailable

SLOT_SHARE = 9
"""The maximum ratio of a resource's slots to the free ones. A resource alone gets nine tenths of all slots."""


class Slots:
    """The slots for requests and for streams in one event loop. At most `limit` further requests wait for a slot.

    A caller may use the fraction `caller_share` of the streams, whose duration is unlimited, and of the memory for
    bodies.
    """

    def __init__(self, limit: int, max_streams: int, caller_share: float) -> None:
        self.requests, self.bodies = FairSemaphore(limit, limit, SLOT_SHARE), BodyMemory(caller_share)
        self.max_streams, self.streams_per_caller = max_streams, max(1, round(max_streams * caller_share))
        self.streams: Counter[Caller] = Counter()

    def enter_stream(self, caller: Caller) -> bool:
        """Occupy a slot for a stream. Returns False if none is free for the caller."""
        if self.streams.total() >= self.max_streams or self.streams[caller] >= self.streams_per_caller:
            return False
        self.streams[caller] += 1
        return True

    def leave_stream(self, caller: Caller) -> None:
        self.streams[caller] -= 1
        if not self.streams[caller]:
            del self.streams[caller]


def busy(detail: str, reason: str, outcome: str = "not_applied") -> Problem:
    COUNTS["refused", reason] += 1
    return unavailable(outcome, detail)


def too_many() -> Problem:
    """Return a 429 (RFC 6585, section 4) for a caller that uses more than its share of the slots, and count it."""
    COUNTS["refused", "share"] += 1
    detail = "You send too many requests at once, and others wait; try again."
    return Problem(429, detail, kind="too-many-requests", headers={"Retry-After": "1"})
