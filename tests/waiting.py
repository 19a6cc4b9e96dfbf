"""Waiting: how long tests wait for something to happen, and how they find out that it has happened."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT_SECONDS = 120
"""The longest wait, in seconds: longer than anything takes, also on a machine that is busy with other things."""


async def until(happens: Callable[[], Awaitable[Any] | bool], seconds: float = 0.01) -> None:
    """Poll a condition until it holds, with a pause of `seconds` between polls."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (await it if inspect.isawaitable(it := happens()) else it):  # noqa: ASYNC110  no event comes from there
            await asyncio.sleep(seconds)
