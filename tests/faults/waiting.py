"""Waiting for what comes soon, or else is a failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.faults.client import Client


async def until(happens: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """After how many seconds it happened."""
    started = time.monotonic()
    while not await happens():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def until_idle(port: int, seconds: float = 5) -> float:
    """Until no connection to the database is in use."""

    async def is_idle() -> bool:
        async with Client(port) as client:
            idle: bool = (await client.send("GET", "/probes/pool")).json() == {"checked_out": 0}
        return idle

    return await until(is_idle, seconds)
