"""The metrics under faults: they can be read while the pool is exhausted, or the database is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kit import Database, Service
from kit.database.engines import Pool
from kit.metrics import Access, install
from tests.engines import Client, url_for
from tests.kit.service import client_of, create_runtime, create_service
from tests.samples import Samples

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105  a test's
SECONDS_BETWEEN, LONGEST_SECONDS = 0.2, 2.0
AWAY = "postgresql://127.0.0.1:1/nowhere?connect_timeout=1"


@asynccontextmanager
async def measured(database: Database) -> AsyncIterator[tuple[Service, Client]]:
    """Provide the bookshop with metrics that a token reads, and a client with it."""
    service = create_service(create_runtime(database))
    install(service, Access(token=TOKEN))
    async with service.companions[-1](), client_of(service, TOKEN) as client:
        yield service, client
    await database.dispose()


async def scraped(client: Client, times: int) -> list[Samples]:
    """Read the metrics again and again, each time within the longest gap that an alert may see."""
    seen = []
    for _ in range(times):
        async with asyncio.timeout(LONGEST_SECONDS):
            answer = await client.get("/metrics")
        assert answer.status_code == 200, answer.text
        seen.append(Samples(answer.text))
        await asyncio.sleep(SECONDS_BETWEEN)
    return seen


async def ask(service: Service, number: int) -> list[int]:
    """Send requests that need the database. Returns their statuses."""
    async with client_of(service) as client:
        answers = await asyncio.gather(*(client.get("/shelves/77") for _ in range(number)))
    return [answer.status_code for answer in answers]


@pytest.mark.untraced
async def test_they_can_be_read_while_the_pool_is_exhausted(library_url: str) -> None:
    database = Database(url_for(library_url), Pool(size=1, timeout=1.5))
    async with measured(database) as (service, client), database.connect() as held:
        assert held is not None
        asking = asyncio.create_task(ask(service, 5))
        seen = await scraped(client, 5)
        assert await asking == [503] * 5
    assert max(samples.sum("db_pool_waiting") for samples in seen) > 0
    assert seen[-1].sum("db_pool_connections", state="in_use") >= 1


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")
async def test_they_can_be_read_while_the_database_is_away(engine: str) -> None:
    async with measured(Database(url_for(AWAY))) as (service, client):
        asking = asyncio.create_task(ask(service, 5))
        await scraped(client, 5)
        assert await asking == [503] * 5
