"""Fixtures of the metrics' tests: the bookshop with metrics, and a function that reads them."""

from collections.abc import AsyncIterator

import pytest

from kit import Database, Service
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
