"""Fixtures: a primary with two standbys, and the bookshop on them, with and without the fast path."""

from collections.abc import AsyncIterator

import pytest

from kit import Service
from kit.replicas import router
from tests.engines import Client
from tests.kit.replicas.bookshops import bookshop_on, create_library
from tests.kit.service import FAST_PATH, client_of
from tests.replication import Cluster, replication


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Provide a primary with two standbys, and the tables of the bookshop."""
    with replication() as cluster:
        await create_library(cluster)
        yield cluster


@pytest.fixture(
    params=[pytest.param(False, marks=pytest.mark.untraced), True] if FAST_PATH else [False],
    ids=lambda fast: "fast" if fast else "plain",
)
async def service(request: pytest.FixtureRequest, cluster: Cluster) -> AsyncIterator[Service]:
    """Provide the bookshop, which reads from both standbys."""
    async with bookshop_on(cluster, fast=request.param) as service:
        yield service


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads wait longer for a standby: on a busy machine the replay takes its time."""
    monkeypatch.setattr(router, "WAIT_SECONDS", 10)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """Provide a client that keeps its cookies, as a browser does."""
    async with client_of(service) as client:
        yield client
