"""Fixtures: a cluster that is started once, with two services. Each test begins when it is healthy."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, running
from tests.cluster.programs import missing
from tests.engines import MEMORY
from tests.faults.conftest import pytest_terminal_summary as pytest_terminal_summary

SETTLED_SECONDS = 90


@pytest.fixture(scope="session")
def started() -> Iterator[Cluster]:
    if sentences := missing():
        pytest.fail("\n".join(sentences))
    with running(Path(MEMORY or tempfile.gettempdir())) as cluster:
        cluster.start_services()
        yield cluster


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    started.until_healthy(SETTLED_SECONDS)
    return started
