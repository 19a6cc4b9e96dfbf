"""Waiting for a condition, with a timeout."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.faults.client import Client


async def until(happens: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait for a condition. Returns the seconds that it took."""
    started = time.monotonic()
    while not await happens():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def until_idle(port: int, seconds: float = 5) -> float:
    """Wait until no database connection is in use."""

    async def is_idle() -> bool:
        async with Client(port) as client:
            idle: bool = (await client.send("GET", "/probes/pool")).json() == {"checked_out": 0}
        return idle

    return await until(is_idle, seconds)
