"""When is it asked again: after pauses that grow, at random, until patience ends."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from kit.database.errors import FAILURES, explained, meaning_of

T = TypeVar("T")
COLLISIONS = (0.01, 0.05, 0.2)
"""Seconds, at most, before a unit that collided with another runs again; then it gives up."""
READ_PATIENCE = 8.0
"""Seconds in which a read waits for a database that is away: as long as a PostgreSQL takes to restart."""
WRITE_PATIENCE = 1.0
"""Seconds for a write, of which nothing was sent to COMMIT."""
SHORTEST, LONGEST = 0.02, 0.5
"""Seconds between two tries."""


def after_collision() -> Iterator[float]:
    """Pauses of which each is some part of its maximum: those who collided do not meet again."""
    return (random.uniform(0, longest) for longest in COLLISIONS)  # noqa: S311  spreads, hides nothing


def while_away(patience: float) -> Iterator[float]:
    """Pauses that double, for so many seconds in all."""
    end, longest = time.monotonic() + patience, SHORTEST
    while time.monotonic() + longest < end:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads, hides nothing
        longest = min(2 * longest, LONGEST)


async def persistently(attempt: Callable[[], Awaitable[T]], patience: float) -> T:
    """What an attempt returns; if it collided with another, or the database is away, what a later one returns.

    `patience` is how many seconds an absent database is waited for. Raises the problem that the last failure means.
    """
    pauses: dict[str | None, Iterator[float]] = {}
    while True:
        try:
            return await attempt()
        except FAILURES as failure:
            pauses = pauses or {"again": after_collision(), "lost": while_away(patience)}
            pause = next(pauses.get(meaning_of(failure), iter(())), None)
            if pause is None:
                raise explained(failure) from failure
        await asyncio.sleep(pause)
