"""Standbys: clients read what they wrote, also while a standby lags, and the primary is relieved of reads."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import httpx

from tests.cluster.cluster import Cluster
from tests.cluster.places import DATABASE, LOCAL
from tests.cluster.processes import children
from tests.faults.client import Client
from tests.faults.figures import seen
from tests.samples import Samples

CLIENTS = 4
READS_OF_A_WRITE = 25
ALL = int(os.environ.get("OWN_READS", "100000"))
"""The number of reads of own writes. A smaller number takes less time, but may miss a rare stale read."""
UNDISTURBED, DISTURBED = ALL // 5, ALL - ALL // 5
"""The numbers of reads without a paused standby, and with a standby that is paused at random times."""
MAX_PAUSE = 0.4
MIN_SHARE, MAX_LOAD = 0.8, 0.25
READS = 8_000


async def write_and_read(cluster: Cluster, reads: int) -> int:
    """Change heroes, and read each change often. Returns how often a client saw an older state than its own."""
    left, stale = count(1), 0

    async def run() -> None:
        nonlocal stale
        async with Client(cluster.places.services[0]) as client:
            body = {"name": f"own-{secrets.token_hex(4)}", "secret_name": "None"}
            path = (await client.send("POST", "/heroes/", body)).headers["location"]
            for power in count(1):
                written = await client.send("PATCH", path, {"power": power})
                assert written.status == 200, written.body
                token = written.headers["read-after"]
                for _ in range(READS_OF_A_WRITE):
                    if next(left) > reads:
                        return
                    answer = await client.send("GET", path, Read_After=token)
                    stale += answer.json()["power"] != power
                    token = answer.headers.get("read-after", token)

    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    return stale


@asynccontextmanager
async def pausing(cluster: Cluster) -> AsyncIterator[None]:
    """Pause the replay of one standby after the other, at random."""
    is_over = asyncio.Event()

    async def pause() -> None:
        while not is_over.is_set():
            node = random.choice(cluster.standbys())
            await asyncio.to_thread(cluster.sql, "SELECT pg_wal_replay_pause()", node)
            await asyncio.sleep(random.uniform(0, MAX_PAUSE))
            await asyncio.to_thread(cluster.sql, "SELECT pg_wal_replay_resume()", node)

    running = asyncio.create_task(pause())
    yield
    is_over.set()
    await running


async def read_by(cluster: Cluster) -> dict[str, float]:
    """Return how often each server was read by the first service."""
    async with httpx.AsyncClient() as client:
        samples = Samples((await client.get(f"http://{LOCAL}:{cluster.places.services[0]}/metrics")).text)
    servers = samples.labels("db_replica_reads_total", "server")
    return {server: samples.sum("db_replica_reads_total", server=server) for server in servers}


async def test_clients_read_their_own_writes_from_standbys(cluster: Cluster) -> None:
    before = await read_by(cluster)
    assert await write_and_read(cluster, UNDISTURBED) == 0
    await asyncio.sleep(0.5)  # for the metrics
    after = await read_by(cluster)
    reads = {server: times - before.get(server, 0) for server, times in after.items()}
    share = 1 - reads.get("primary", 0) / sum(reads.values())
    async with pausing(cluster):
        assert await write_and_read(cluster, DISTURBED) == 0
    seen("reads of own writes", f"{UNDISTURBED + DISTURBED}, none stale; {share:.1%} by standbys if none is paused")
    assert share >= MIN_SHARE


def processor_seconds(cluster: Cluster) -> float:
    """Return the processor time, in seconds, of the primary's backend processes of the services."""
    ticks = 0
    for pid in children(cluster.postmaster(cluster.leader())):
        folder = Path(f"/proc/{pid}")
        if f"{DATABASE} {DATABASE} " in (folder / "cmdline").read_text():
            ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / 100


async def read_often(port: int) -> None:
    async def run() -> None:
        async with Client(port) as client:
            for _ in range(READS // CLIENTS):
                assert (await client.send("GET", f"/heroes/?limit=20&offset={random.randint(0, 100)}")).status == 200

    await asyncio.gather(*(run() for _ in range(CLIENTS)))


async def test_standbys_relieve_the_primary_of_reads(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.stop, "service2")
    await asyncio.to_thread(cluster.start_service, 2, DATABASE_URL=cluster.places.by_hosts, REPLICA_URL="")
    seconds = []
    for port in reversed(cluster.places.services):
        before = processor_seconds(cluster)
        await read_often(port)
        seconds.append(processor_seconds(cluster) - before)
    await asyncio.to_thread(cluster.stop, "service2")
    await asyncio.to_thread(cluster.start_service, 2)
    alone, relieved = seconds
    seen(f"processor time of the primary for {READS} reads", f"{alone:.2f} s alone, {relieved:.2f} s with two standbys")
    assert relieved <= MAX_LOAD * alone
