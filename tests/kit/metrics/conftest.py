"""Fixtures of the metrics' tests: the bookshop with metrics, and a function that reads them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from kit import Database, Service
from kit.http.events import COUNTS, GAUGES
from kit.metrics import Access, install
from tests.engines import Client
from tests.kit.service import client_of, create_runtime, create_service


@pytest.fixture
async def measured(database: Database) -> AsyncIterator[Service]:
    """Provide the bookshop with metrics, as a server runs it."""
    service = create_service(create_runtime(database))
    install(service, Access())
    for companion in service.companions:
        async with companion():
            yield service


@pytest.fixture
async def reader(measured: Service) -> AsyncIterator[Client]:
    """Provide a client of the bookshop with metrics."""
    async with client_of(measured) as client:
        yield client


@pytest.fixture
def standby(measured: Service) -> Iterator[str]:
    """Provide the name of a standby that was read three times, and a gauge that no metric shows."""
    name = "standby:5432"
    shown = {("replica_lag", name): 0.25, ("replica_ok", name): 1.0, ("other", name): 1.0}
    GAUGES.update(shown)
    COUNTS["replica_reads", name] += 3
    yield name
    del COUNTS["replica_reads", name]
    for key in shown:
        del GAUGES[key]
