"""Demo data: fills an empty database once, and does not change a database with rows."""

import asyncio
from typing import Any

import pytest

import demo
from kit import Database, Service
from main import create_app
from tests.application import settings_for
from tests.clients import client_of
from tests.engines import Client
from tests.heroes.shop import cheap_hashes, new_hero, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def heroes_of(app: Service) -> list[Any]:
    async with app.router.lifespan_context(app), client_of(app) as client:
        return list(await read(client, "/heroes/"))


async def test_the_first_start_fills_the_database_and_the_second_adds_nothing(new_database: Any) -> None:
    settings = settings_for(await new_database(), demo_data=True)
    for _ in range(2):
        assert len(await heroes_of(create_app(settings))) == len(demo.HEROES)


async def test_a_database_with_rows_gets_no_demo_data(client: Client, database: Database) -> None:
    hero = await new_hero(client)
    await demo.fill(database)
    assert await read(client, "/heroes/") == [hero]
    assert await read(client, "/teams/") == []


async def test_workers_that_start_together_store_the_demo_data_once(client: Client, database: Database) -> None:
    await asyncio.gather(*(demo.fill(database) for _ in range(8)))
    assert len(await read(client, "/heroes/")) == len(demo.HEROES)
