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
from tests.rows import cheap_hashes, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def users_of(app: Service) -> list[Any]:
    async with app.router.lifespan_context(app), client_of(app) as client:
        return list(await read(client, "/users/"))


async def test_the_first_start_fills_the_database_and_the_second_adds_nothing(new_database: Any) -> None:
    settings = settings_for(await new_database(), demo_data=True)
    first = await users_of(create_app(settings))
    assert first
    assert await users_of(create_app(settings)) == first


async def test_a_database_with_rows_gets_no_demo_data(client: Client, database: Database) -> None:
    user = await new_user(client)
    await demo.fill(database)
    assert await read(client, "/users/") == [user]


async def test_workers_that_start_together_store_the_demo_data_once(client: Client, database: Database) -> None:
    await demo.fill(database)
    stored = await read(client, "/users/")
    await asyncio.gather(*(demo.fill(database) for _ in range(8)))
    assert await read(client, "/users/") == stored
