"""Retries of temporary database failures, with exponential backoff and jitter."""

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
"""The maximum pause before the first, second and third retry after a conflict between transactions, in seconds."""
READ_SECONDS = 8.0
"""How long a read is retried while the database is unavailable: about the duration of a restart of PostgreSQL."""
WRITE_SECONDS = 1.0
"""How long a write is retried while the database is unavailable, if its COMMIT was not sent."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""The maximum pause before the first retry of an unavailable database, and before late ones, in seconds."""


def after_conflict() -> Iterator[float]:
    """Yield the pauses after conflicts in seconds, random so that the same requests do not conflict again."""
    return (random.uniform(0, longest) for longest in CONFLICT_PAUSES)  # noqa: S311  spreads, hides nothing


def while_unavailable(seconds: float) -> Iterator[float]:
    """Yield pauses in seconds, which double, with jitter, until `seconds` after the first one."""
    end, longest = time.monotonic() + seconds, SHORTEST_PAUSE
    while time.monotonic() + longest < end:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads, hides nothing
        longest = min(2 * longest, LONGEST_PAUSE)


async def retried(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Return the result of the first `attempt()` that succeeds.

    Conflicts are retried three times, and an unavailable database for `seconds`. Raises the problem (such as a 503)
    for the last failure; for a programming error, the exception itself.
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
