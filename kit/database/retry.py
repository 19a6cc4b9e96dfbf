"""Retries: an attempt that failed for a passing reason is made again, after pauses with jitter that grow."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from kit.database.errors import FAILURES, explained, meaning_of

T = TypeVar("T")
CONFLICT_PAUSES = (0.01, 0.05, 0.2)
"""Seconds, at most, before each new attempt of a unit that conflicted with another; then it fails."""
READ_SECONDS = 8.0
"""Seconds for which a read is retried while the database is away: as long as PostgreSQL takes to restart."""
WRITE_SECONDS = 1.0
"""Seconds for which a write is retried whose COMMIT was not sent."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two attempts."""


def after_conflict() -> Iterator[float]:
    """Pauses of which each is some part of its maximum: those who collided do not meet again."""
    return (random.uniform(0, longest) for longest in CONFLICT_PAUSES)  # noqa: S311  spreads, hides nothing


def while_away(seconds: float) -> Iterator[float]:
    """Pauses that double, for so many seconds in all."""
    end, longest = time.monotonic() + seconds, SHORTEST_PAUSE
    while time.monotonic() + longest < end:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads, hides nothing
        longest = min(2 * longest, LONGEST_PAUSE)


async def retried(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The result of the first attempt that succeeds, while those before conflict with others, or the database is away.

    `seconds` is for how long an absent database is waited for. Raises the problem that the last failure means.
    """
    try:
        return await attempt()
    except FAILURES as failure:
        return await retried_after(failure, attempt, seconds)


async def retried_after(failure: Exception, attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The same after a first attempt that ended with this failure."""
    pauses: dict[str | None, Iterator[float]] = {"again": after_conflict(), "lost": while_away(seconds)}
    while True:
        pause = next(pauses.get(meaning_of(failure), iter(())), None)
        if pause is None:
            raise explained(failure) from failure
        await asyncio.sleep(pause)
        try:
            return await attempt()
        except FAILURES as another:
            failure = another
