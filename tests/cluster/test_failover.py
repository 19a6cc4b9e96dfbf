"""Failover: whatever happens to the primary, no acknowledged write is lost or doubled, and reads go on."""

import asyncio
import time

import pytest

from tests.cluster.breaks import BREAKS, Break, wait_for_old_key
from tests.cluster.cluster import Cluster
from tests.cluster.counts import check_stored, counted, measured
from tests.cluster.load import Load, loaded
from tests.faults.figures import seen

NORMAL_SECONDS = 2
MAX_WRITE_GAP, MAX_SCRAPE_GAP = 20, 2
READ_FAILURES_END = 8
"""Seconds after a failure, from which on no read fails."""


@pytest.mark.parametrize("failure", BREAKS, ids=lambda failure: failure.name)
async def test_a_failure_of_the_primary_loses_no_write(cluster: Cluster, failure: Break) -> None:
    before = measured(cluster)
    async with loaded(cluster.places.services, failure.name.replace(" ", "-")) as load:
        await asyncio.sleep(NORMAL_SECONDS)
        await asyncio.to_thread(wait_for_old_key, cluster)
        node, moment = cluster.leader(), time.monotonic()
        await asyncio.to_thread(failure.happen, cluster, node)
        await asyncio.sleep(failure.seconds)
    failure.heal(cluster, node)
    await asyncio.to_thread(cluster.until_healthy)
    rows = check_stored(cluster, load)
    late = [read for read in load.failed_reads if read.moment > moment + READ_FAILURES_END]
    seen(failure.name, f"{figures(load, cluster)}, {rows} stored, {len(late)} reads failed after 8 s")
    assert measured(cluster) - before == counted(load)
    assert load.outcomes <= {"not_applied", "unknown"}
    assert load.gap_of_metrics() <= MAX_SCRAPE_GAP
    assert max(load.longest_gap(port) for port in load.ports) <= MAX_WRITE_GAP
    assert (late, load.unseen) == ([], [])


def figures(load: Load, cluster: Cluster) -> str:
    gaps = " / ".join(f"{load.longest_gap(port):.1f}" for port in cluster.places.services)
    return (
        f"no write for {gaps} s (hosts / PgBouncer); {load.reads} reads, {len(load.failed_reads)} failed"
        f" (of own writes {len(load.failed_own_reads)}),"
        f" the slowest {load.slowest_read:.1f} s; {len(load.acknowledged)} writes, {len(load.failed_writes)} refused"
    )
