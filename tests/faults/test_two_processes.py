"""Two processes that write to one SQLite file take turns, and no write fails."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count

from tests.engines import on_sqlite
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.ledger import open_ledger

WRITERS, SECONDS = 32, 30


def names(end: float) -> Iterator[str]:
    for number in count():
        if time.monotonic() > end:
            return
        yield f"movement-{number}"


@on_sqlite
async def test_two_processes_write_into_one_sqlite_file(serve: Serve) -> None:
    servers = [serve(), serve()]
    ledger = await open_ledger(servers[0].port)
    movements = names(time.monotonic() + SECONDS)
    ports = [servers[number % 2].port for number in range(WRITERS)]
    await asyncio.gather(*(ledger.move_all(port, movements) for port in ports))
    stored = await ledger.check(servers[1].port)
    seen(
        "two processes on one SQLite file",
        f"{WRITERS} writers, {SECONDS} s: {ledger.statuses[201]} × 201, {ledger.statuses[503]} × 503, {stored} stored",
    )
    assert ledger.statuses.keys() <= {201, 503}
    assert "database is locked" not in servers[0].log  # both processes write to it
