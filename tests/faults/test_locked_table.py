"""A table of PostgreSQL that is locked: requests to other resources are served as before."""

import asyncio
import time
from itertools import count

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.engines import on_postgresql
from tests.faults.client import Client
from tests.faults.conftest import Serve
from tests.faults.figures import percentile, seen
from tests.watchdog import slowness_of_the_machine

pytestmark = pytest.mark.measured
CROWD = 150
"""The number of clients that read the locked table: more than the slots for requests and the connections."""
ADDRESSES = 3
SECONDS, P99 = 4, 0.25
"""The duration, and the bound on a machine that is not slow."""
numbers = count(1)


async def read_again_and_again(port: int, address: str, end: float) -> set[int]:
    statuses: set[int] = set()
    async with Client(port, address) as client:
        while time.monotonic() < end:
            answer = await client.send("GET", f"/heroes/?limit=5&power={next(numbers)}")  # no two reads are identical
            statuses.add(answer.status)
            await asyncio.sleep(0.05)
    return statuses


@on_postgresql
async def test_a_locked_table_does_not_starve_reads_of_others(serve: Serve, database_url: str) -> None:
    server = serve()
    url = make_url(database_url)
    holder = await asyncpg.connect(host=str(url.query["host"]), user="postgres", database=url.database)
    durations: list[float] = []
    async with holder.transaction(), Client(server.port) as client:
        await holder.execute("LOCK TABLE hero IN ACCESS EXCLUSIVE MODE")
        end = time.monotonic() + SECONDS
        crowd = [f"127.0.0.{2 + number % ADDRESSES}" for number in range(CROWD)]
        waiting = asyncio.gather(*(read_again_and_again(server.port, address, end) for address in crowd))
        await asyncio.sleep(0.2)
        while time.monotonic() < end:
            for path, body in (("/teams/", None), ("/products/?limit=1", None), ("/teams/", {"headquarters": "X"})):
                sent = body and {**body, "name": f"Team {next(numbers)}"}
                answer = await client.send("POST" if body else "GET", path, sent)
                assert answer.status in (200, 201), answer
                durations.append(answer.seconds)
            await asyncio.sleep(0.02)
    assert {status for statuses in await waiting for status in statuses} <= {200, 429, 503}
    await holder.close()
    p99 = percentile(durations, 0.99)
    seen(f"{CROWD} clients of a locked table", f"p99 of others {p99 * 1000:.0f} ms")
    assert p99 <= P99 * slowness_of_the_machine()
