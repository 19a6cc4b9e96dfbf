"""Retries: failures that may pass are retried, with exponential backoff and jitter."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from kit.database.error_responses import explained
from kit.database.errors import FAILURES, meaning_of
from kit.http.events import COUNTS

T = TypeVar("T")
CONFLICT_PAUSES = (0.01, 0.05, 0.2)
"""The longest pause before each retry after a conflict with another transaction, in seconds."""
READ_SECONDS = 8.0
"""The time for which a read is retried while the database is unavailable: about a restart of PostgreSQL."""
WRITE_SECONDS = 1.0
"""The time for which a write is retried while the database is unavailable, if its COMMIT was not sent."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""The bounds of the pause between two attempts, in seconds."""


def after_conflict() -> Iterator[float]:
    """Yield pauses in seconds, each random up to its maximum, so that conflicting requests do not conflict again."""
    return (random.uniform(0, longest) for longest in CONFLICT_PAUSES)  # noqa: S311  spreads, hides nothing


def while_unavailable(seconds: float) -> Iterator[float]:
    """Yield pauses in seconds that double, with jitter, for at most `seconds` in all."""
    end, longest = time.monotonic() + seconds, SHORTEST_PAUSE
    while time.monotonic() + longest < end:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads, hides nothing
        longest = min(2 * longest, LONGEST_PAUSE)


async def retried(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Return the result of the first attempt that succeeds. Conflicts and an unavailable database are retried.

    `seconds`: the time for which an unavailable database is retried. Raises the problem for the last failure.
    """
    try:
        return await attempt()
    except FAILURES as failure:
        return await retried_after(failure, attempt, seconds)


async def retried_after(failure: Exception, attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Retry like `retried`, after a first attempt that raised `failure`."""
    pauses: dict[str | None, Iterator[float]] = {"again": after_conflict(), "lost": while_unavailable(seconds)}
    while True:
        meaning = meaning_of(failure)
        pause = next(pauses.get(meaning, iter(())), None)
        if pause is None:
            raise explained(failure) from failure
        COUNTS["retries", "lost" if meaning == "lost" else "conflict"] += 1
        await asyncio.sleep(pause)
        try:
            return await attempt()
        except FAILURES as another:
            failure = another
