"""Restarts of HAProxy and PgBouncer under load: no read fails, and a write is a 201 or a 503."""

import asyncio
from collections.abc import Callable

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.counts import check_stored
from tests.cluster.load import loaded
from tests.faults.figures import seen

RESTARTS: dict[str, Callable[[Cluster], None]] = {
    "pgbouncer": Cluster.start_pgbouncer,
    "haproxy": Cluster.start_haproxy,
}


@pytest.mark.parametrize("program", RESTARTS)
async def test_a_restart_of_what_stands_before_postgresql_fails_no_read(cluster: Cluster, program: str) -> None:
    async with loaded(cluster.places.services, program) as load:
        for _ in range(3):
            await asyncio.sleep(2)
            await asyncio.to_thread(cluster.stop, program)
            RESTARTS[program](cluster)
        await asyncio.sleep(3)
    rows = check_stored(cluster, load)
    statuses = {status for (_, method, status) in load.statuses if method == "POST"}
    gap = max(load.longest_gap(port) for port in load.ports)
    seen(
        f"{program} restarted 3 times", f"{load.reads} reads, none failed; {rows} writes, none for {gap:.1f} s at most"
    )
    assert load.failed_reads == []
    assert statuses <= {201, 503}
