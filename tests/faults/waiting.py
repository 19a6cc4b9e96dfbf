"""Waiting for a condition, with a timeout."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.faults.client import Client
from tests.waiting import TIMEOUT_SECONDS


async def until(happens: Callable[[], Awaitable[bool]], seconds: float = TIMEOUT_SECONDS) -> float:
    """Wait for a condition. Returns the seconds that it took."""
    started = time.monotonic()
    while not await happens():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def until_idle(port: int, seconds: float = TIMEOUT_SECONDS) -> float:
    """Wait until no database connection is in use."""
    return await until_used(port, 0, seconds)


async def until_used(port: int, number: int, seconds: float = TIMEOUT_SECONDS) -> float:
    """Wait until this number of database connections is in use."""

    async def are_used() -> bool:
        async with Client(port) as client:
            used: bool = (await client.send("GET", "/probes/pool")).json() == {"checked_out": number}
        return used

    return await until(are_used, seconds)
