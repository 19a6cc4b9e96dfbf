"""Counts of the responses to a load, to compare with the database and with the metrics of the services."""

from collections import Counter

import httpx

from tests.cluster.cluster import Cluster
from tests.cluster.load import Load
from tests.cluster.places import DATABASE, LOCAL
from tests.samples import Samples

Counts = Counter[tuple[int, str, str]]
"""Responses by port, method and class of status."""


def stored(cluster: Cluster, tag: str) -> Counter[str]:
    """Return the number of stored heroes by name, for the load with this tag."""
    rows = cluster.sql(f"SELECT name FROM hero WHERE name LIKE '{tag}-%'", database=DATABASE)  # noqa: S608  our tag
    return Counter(rows.split())


def check_stored(cluster: Cluster, load: Load) -> int:
    """Assert that no acknowledged hero is lost, and none is stored twice or after a failure. Returns their number."""
    names = stored(cluster, load.tag)
    assert load.acknowledged - names.keys() == set(), "lost, though acknowledged"
    assert [name for name, times in names.items() if times > 1] == [], "doubled"
    assert load.not_applied & names.keys() == set(), "stored, though reported as not applied"
    return len(names)


def measured(cluster: Cluster) -> Counts:
    """Return the number of responses to requests for heroes, as the metrics of the services count them."""
    counts: Counts = Counter()
    for port in cluster.places.services:
        samples = Samples(httpx.get(f"http://{LOCAL}:{port}/metrics").text)
        for sample in samples.samples:
            labels = sample.labels
            if sample.name == "http_request_duration_seconds_count" and labels["route"].startswith("/heroes/"):
                counts[port, labels["method"], labels["status"]] += int(sample.value)
    return +counts


def counted(load: Load) -> Counts:
    """Return the number of responses, as the clients of the load count them."""
    counts: Counts = Counter()
    for (port, method, status), times in load.statuses.items():
        counts[port, method, f"{status // 100}xx"] += times
    return +counts
