"""Restarts of PostgreSQL under load: no read fails, and every write gets the correct outcome."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import count

from tests.engines import on_postgresql
from tests.faults.client import Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.ledger import Ledger, open_ledger
from tests.faults.postgres import Postgres

READERS, WRITERS = 20, 10
NORMAL_SECONDS = 0.7
"""Seconds of normal operation after each restart."""


class Load:
    """Readers and writers that run until the load is stopped."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.port, self.ledger, self.is_over = port, ledger, False
        self.reads: Counter[int] = Counter()
        self.slowest = 0.0

    def names(self) -> Iterator[str]:
        for number in count():
            if self.is_over:
                return
            yield f"movement-{number}"

    async def read(self) -> None:
        async with Client(self.port) as client:
            while not self.is_over:
                answer = await client.send("GET", "/products/?limit=5")
                self.reads[answer.status] += 1
                self.slowest = max(self.slowest, answer.seconds)

    async def run(self) -> None:
        names = self.names()
        writers = [self.ledger.move_all(self.port, names) for _ in range(WRITERS)]
        await asyncio.gather(*writers, *(self.read() for _ in range(READERS)))


@on_postgresql
async def test_six_restarts_of_postgresql_fail_no_read_and_lose_no_write(serve: Serve, postgres: Postgres) -> None:
    server = serve()
    ledger = await open_ledger(server.port)
    load = Load(server.port, ledger)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(NORMAL_SECONDS)
    for _ in range(3):
        await asyncio.to_thread(postgres.restart, "fast")
        await asyncio.sleep(NORMAL_SECONDS)
        await asyncio.to_thread(postgres.restart, "immediate")
        await asyncio.sleep(NORMAL_SECONDS)
    load.is_over = True
    await running
    stored = await ledger.check(server.port)
    assert load.reads.keys() == {200}
    assert ledger.statuses.keys() <= {201, 503}
    seen(
        "restart of PostgreSQL, 3 fast, 3 immediate",
        f"{load.reads[200]} reads, none failed, the slowest {load.slowest:.1f} s; writes:"
        f" {ledger.statuses[201]} × 201, {ledger.statuses[503]} × 503, {stored} stored",
    )
