"""Ten times the capacity: served requests keep their throughput and latency, and the others are refused at once."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import pytest

from tests.faults.client import Client
from tests.faults.conftest import Serve
from tests.faults.figures import percentile, seen
from tests.faults.waiting import until_used
from tests.live import Server

pytestmark = pytest.mark.measured
CAPACITY = 8
"""Requests served at the same time."""
WORK = "/probes/sleep/200"
"""The duration of a request: long, so that the slots are the bottleneck, not the CPU, which the clients use too."""
CROWD, TIMES = 20 * CAPACITY, 11
"""The numbers of clients. They retry soon after a refusal, and so send a multiple of the peak rate together."""
REMAINING_SHARE, FACTOR = 0.8, 5
"""The share of the peak throughput that must remain, and how many times slower served requests may become."""


@dataclass
class Durations:
    """The durations of served and of refused requests, in seconds."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


async def ask(port: int, end: float, pause: float, results: Durations) -> None:
    """Send requests until the end. A refused client retries after about this pause."""
    async with Client(port) as client:
        while time.monotonic() < end:
            answer = await client.send("GET", WORK)
            if answer.status == 200:
                results.served.append(answer.seconds)
                continue
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            results.refused.append(answer.seconds)
            await asyncio.sleep(random.uniform(0.5 * pause, 1.5 * pause))


async def run_clients(port: int, clients: int, seconds: float, pause: float = 0) -> Durations:
    end, results = time.monotonic() + seconds, Durations()
    await asyncio.gather(*(ask(port, end, pause, results) for _ in range(clients)))
    return results


async def check_liveness(port: int, until: "asyncio.Task[Durations]") -> list[float]:
    """Send liveness checks all the time."""
    seconds: list[float] = []
    async with Client(port) as client:
        while not until.done():
            answer = await client.send("GET", "/health/live")
            assert answer.status == 200
            seconds.append(answer.seconds)
            await asyncio.sleep(0.05)
    return seconds


async def test_ten_times_the_capacity_keeps_throughput_and_latency(serve: Serve, engine: str) -> None:
    server = serve(MAX_IN_FLIGHT=str(CAPACITY), POOL_SIZE=str(CAPACITY))
    assert (
        await keeps_promise(server, engine)
        or await keeps_promise(server, engine)
        or await keeps_promise(server, engine)
    )


async def keeps_promise(server: Server, engine: str) -> bool:
    """Return whether the promise was kept; tried twice, because the machine may be busy."""
    alone = percentile((await run_clients(server.port, 1, 2)).served, 0.99)
    peak = len((await run_clients(server.port, CAPACITY, 3)).served) / 3
    overload = asyncio.create_task(run_clients(server.port, CROWD, 5, pause=CROWD / (TIMES * peak)))
    lives = await check_liveness(server.port, overload)
    busy = await overload
    goodput, p99, slowest = len(busy.served) / 5, percentile(busy.served, 0.99), max(busy.refused)
    offered = (len(busy.served) + len(busy.refused)) / 5 / peak
    seen(
        f"overload, {engine}",
        f"{offered:.1f} × the peak of {peak:.0f}/s: goodput {goodput / peak:.0%}, p99 {p99 * 1000:.0f} ms"
        f" (alone {alone * 1000:.0f}), refused within {slowest:.2f} s, /health/live within {max(lives):.2f} s",
    )
    return goodput >= REMAINING_SHARE * peak and p99 <= FACTOR * alone and slowest <= 1


async def test_a_request_without_a_free_connection_is_a_503_in_time(serve: Serve, engine: str) -> None:
    server = serve(POOL_SIZE="1", POOL_OVERFLOW="0", POOL_TIMEOUT="1")
    async with Client(server.port) as first, Client(server.port) as second:
        keeping = asyncio.create_task(first.send("GET", "/probes/sleep/6000"))
        await until_used(server.port, 1)
        answer = await second.send("GET", "/heroes/")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert 1 <= answer.seconds < 5
        assert (await keeping).status == 200
    seen(f"exhausted pool, waiting 1 s, {engine}", f"503 after {answer.seconds:.2f} s")
