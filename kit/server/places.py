"""Places: the bounds of the requests and streams that are served at the same time, and the problems beyond them."""

from collections import Counter

from kit.http.bodies import BodyMemory
from kit.http.events import COUNTS
from kit.http.fairness import Caller, FairSemaphore
from kit.http.problems import Problem, unavailable

PLACE_SHARE = 9
"""The largest ratio of a resource's places to the free ones: nine tenths of all, while other resources have none."""


class Places:
    """The places for requests and for streams in one event loop. At most `limit` requests wait for a place.

    One caller has at most `caller_share` of the streams, which may be endless, and of the memory for bodies.
    """

    def __init__(self, limit: int, max_streams: int, caller_share: float) -> None:
        self.requests, self.bodies = FairSemaphore(limit, limit, PLACE_SHARE), BodyMemory(caller_share)
        self.max_streams, self.streams_per_caller = max_streams, max(1, round(max_streams * caller_share))
        self.streams: Counter[Caller] = Counter()

    def enter_stream(self, caller: Caller) -> bool:
        """Occupy the place of a stream, if one is free."""
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
    """Return a 429 (RFC 6585, section 4) for a caller that uses more than its share."""
    COUNTS["refused", "share"] += 1
    detail = "You have too many requests at once; others wait for theirs."
    return Problem(429, detail, kind="too-many-requests", headers={"Retry-After": "1"})
