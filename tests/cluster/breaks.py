"""Failures of the primary, and how long each may take until writes succeed again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.cluster import FREEZE_SECONDS, Cluster

KEY_SECONDS = 14
"""Tests break the primary when the TTL of its leader key is at most this number of seconds.

Patroni resets the TTL to 20 s every 7 s. The measured time of a failover depends on what remains of it.
"""


@dataclass(frozen=True)
class Break:
    """A failure: `happen` breaks the node of the primary; `heal` repairs what Patroni does not repair by itself."""

    name: str
    happen: Callable[[Cluster, int], None]
    seconds: float
    """How long the load continues after the failure."""
    heal: Callable[[Cluster, int], None] = lambda cluster, node: None


def switch_over(cluster: Cluster, node: int) -> None:
    cluster.switch_over()


def freeze_and_thaw(cluster: Cluster, node: int) -> None:
    cluster.freeze(node)
    time.sleep(FREEZE_SECONDS)
    cluster.thaw(node)


BREAKS = (
    Break("switchover", switch_over, 10),
    Break("postmaster killed", Cluster.kill_postmaster, 16),
    Break("Patroni and postmaster killed", Cluster.kill_node, 24, Cluster.start_node),
    Break("leader frozen for 28 s", freeze_and_thaw, 6),
)


def wait_for_old_key(cluster: Cluster) -> None:
    """Wait until the leader key is valid for at most `KEY_SECONDS` more."""
    cluster.until(lambda: cluster.seconds_of_key() <= KEY_SECONDS, 20)
