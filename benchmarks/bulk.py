"""The client for bulk requests. It waits for all responses; wrk would not count requests that are unfinished."""

import asyncio
import statistics
import time
from collections.abc import Sequence

import httpx

from benchmarks.loads import BULK, heroes
from benchmarks.wrk import Outcome

HEADERS = {"Content-Type": "application/json"}
TIMEOUT_SECONDS = 10


async def send(client: httpx.AsyncClient, headers: dict[str, str], until: float) -> list[tuple[float, int]]:
    """Send requests one after another. Returns the latency (ms) and size (bytes) of each response; size 0: an error."""
    body, found = heroes(BULK), []
    while time.perf_counter() < until:
        begun = time.perf_counter()
        try:
            response = await client.post("/heroes/bulk", content=body, headers=headers)
            size = len(response.content) if response.is_success else 0
        except httpx.TransportError:
            size = 0
        found.append(((time.perf_counter() - begun) * 1000, size))
    return found


async def driven(url: str, connections: int, seconds: float, tokens: Sequence[str]) -> Outcome:
    begun = time.perf_counter()
    until = begun + seconds
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
        bearers = [{"Authorization": f"Bearer {token}"} for token in tokens] or [{}]
        senders = [send(client, HEADERS | bearers[place % len(bearers)], until) for place in range(connections)]
        answers = [answer for answers in await asyncio.gather(*senders) for answer in answers]
    return outcome(answers, time.perf_counter() - begun)


def outcome(answers: Sequence[tuple[float, int]], seconds: float) -> Outcome:
    """Return the outcome of these answers: milliseconds and bytes of each."""
    good = sorted(milliseconds for milliseconds, size in answers if size)
    received = sum(size for _, size in answers)
    errors = len(answers) - len(good)
    if not good:
        return Outcome(0, seconds, 0, 0, errors, received)
    return Outcome(len(good), seconds, statistics.median(good), good[int(len(good) * 0.99)], errors, received)


def drive(url: str, *, connections: int, seconds: float, tokens: Sequence[str] = ()) -> Outcome:
    """Send bulk requests for this number of seconds, then wait for the remaining responses."""
    return asyncio.run(driven(url, connections, seconds, tokens))
