"""Callers who leave: nothing is kept for them, and those who stay do not notice."""

import asyncio
import random
from contextlib import suppress

from tests.faults.client import Client
from tests.faults.figures import percentile, seen
from tests.faults.waiting import until_idle
from tests.live import Server

LEAVING, PER_SECOND = 1000, 40
FACTOR = 5
"""How much slower it may be for those who stay."""
IDLE = 0.02
"""Seconds; below it, a busy machine's own noise is larger than what is measured."""


async def leave(port: int) -> None:
    """Ask for work of two seconds, and hang up long before."""
    async with Client(port) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0.02, 0.2)):
                await client.send("GET", "/probes/sleep/2000")


async def crowd(port: int) -> None:
    """They come at their own pace, whatever becomes of those before them."""
    async with asyncio.TaskGroup() as clients:
        for _ in range(LEAVING):
            clients.create_task(leave(port))
            await asyncio.sleep(1 / PER_SECOND)


async def p99(port: int, until: "asyncio.Task[None] | None" = None) -> float:
    """Of a client who reads now and then: so many times, or until the others are through."""
    seconds: list[float] = []
    async with Client(port) as client:
        while not until.done() if until else len(seconds) < 300:
            answer = await client.send("GET", "/heroes/?limit=5")
            assert answer.status == 200
            seconds.append(answer.seconds)
            await asyncio.sleep(0.01)
    return percentile(seconds, 0.99)


async def test_a_thousand_callers_who_leave_keep_no_connection_and_slow_nobody_down(
    server: Server, engine: str
) -> None:
    assert await holds(server, engine) or await holds(server, engine) or await holds(server, engine)
    assert "Unforeseen fault" not in server.log


async def holds(server: Server, engine: str) -> bool:
    """Whether those who stay did not notice; a machine that has other things to do gets another try."""
    idle = await p99(server.port)
    leaving = asyncio.create_task(crowd(server.port))
    busy = await p99(server.port, until=leaving)
    await leaving
    await until_idle(server.port, 10)
    seen(
        f"callers who leave, {engine}",
        f"{LEAVING}: no connection kept; another's p99 {busy * 1000:.0f} ms, idle {idle * 1000:.0f} ms",
    )
    return busy <= FACTOR * max(idle, IDLE)
