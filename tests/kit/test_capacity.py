"""Pools that PostgreSQL cannot fill are noticed at start."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from kit import Database
from kit.database.capacity import report
from kit.database.engines import Pool
from tests.engines import url_for

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")


async def said_of(database: Database, workers: int, caplog: Any) -> str:
    caplog.clear()
    await report(database, workers)
    return "\n".join(caplog.messages)


@on_postgresql
async def test_more_connections_than_postgresql_permits_are_a_warning(database: Database, caplog: Any) -> None:
    async with database.connect() as connection:
        most = int((await connection.execute(text("SHOW max_connections"))).scalar_one())
    large = Database(database.url, replace(database.pool, size=most, overflow=0))
    said = await said_of(large, 1, caplog)
    assert said.startswith(f"The service has a pool of up to {most} connections, and PostgreSQL permits ")
    said = await said_of(large, 4, caplog)
    assert said.startswith("4 workers have pools of up to ")
    assert "set POOL_SIZE=" in said
    await large.dispose()


@on_postgresql
async def test_a_pool_that_fits_is_not_mentioned(database: Database, caplog: Any) -> None:
    small = Database(database.url, replace(database.pool, size=2, overflow=1))
    assert await said_of(small, 2, caplog) == ""
    await small.dispose()


async def test_a_file_a_pooler_and_a_database_that_is_away_have_no_limit(caplog: Any) -> None:
    for url in ("sqlite://", "postgresql://h/d?pgbouncer=true", "postgresql://127.0.0.1:1/d?connect_timeout=2"):
        database = Database(url_for(url), Pool(size=1000))
        assert await said_of(database, 100, caplog) == ""
        await database.dispose()
