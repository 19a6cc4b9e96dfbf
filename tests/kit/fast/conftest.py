"""Fixtures of the fast path's tests: a database with their tables, opened with and without shortcuts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import delete, make_url

from kit.database.databases import Database
from kit.fast import driver
from kit.fast.databases import use_fast_sessions
from kit.fast.multi_row_inserts import Statement
from tests.kit.fast.notes import TABLES, FastEntity


def opened(url: str) -> Database:
    made = make_url(url)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[made.get_backend_name()]
    return Database(made.set(drivername=driver))


@pytest.fixture(scope="session")
async def fast_url(new_database: Any) -> str:
    url: str = await new_database()
    database = opened(url)
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: FastEntity.metadata.create_all(sync, tables=TABLES))
    await database.dispose()
    return url


@pytest.fixture
async def plain(fast_url: str) -> AsyncIterator[Database]:
    """Provide the database without shortcuts, without rows."""
    database = opened(fast_url)
    async with database.writer.begin() as connection:
        for table in reversed(TABLES):
            await connection.execute(delete(table))
    yield database
    await database.dispose()


@pytest.fixture
async def database(plain: Database, fast_url: str) -> AsyncIterator[Database]:
    """Provide the same database with shortcuts."""
    database = opened(fast_url)
    use_fast_sessions(database, coalesce=True, group=True, without=frozenset())
    yield database
    await database.dispose()


@pytest.fixture
async def unshared(plain: Database, fast_url: str) -> AsyncIterator[Database]:
    """Provide the same database with shortcuts, without coalescing and group commit."""
    database = opened(fast_url)
    use_fast_sessions(database, coalesce=False, group=False, without=frozenset())
    yield database
    await database.dispose()


@pytest.fixture
def direct_sql(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Provide the statements that the driver executed without SQLAlchemy."""
    seen: list[str] = []
    read_on, insert = driver.read_on, driver.insert

    def reading(connection: Any, sql: str, arguments: Any) -> Any:
        seen.append(sql)
        return read_on(connection, sql, arguments)

    async def inserting(connection: Any, sql: str, rows: Any, *timeouts: float | None) -> Any:
        seen.append(sql)
        return await insert(connection, sql, rows, *timeouts)

    monkeypatch.setattr(driver, "read_on", reading)
    monkeypatch.setattr(driver, "insert", inserting)
    return seen


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Provide the statements of transactions that the driver executed without SQLAlchemy."""
    seen: list[str] = []
    timed, visit = driver.timed, driver.visit

    async def visiting(connection: Any, *statements: Statement) -> Any:
        seen.extend(sql for _, sql, _ in statements)
        return await visit(connection, *statements)

    async def noting(step: Any, kind: str, sql: str, connection: Any) -> Any:
        seen.append(sql)
        return await timed(step, kind, sql, connection)

    monkeypatch.setattr(driver, "timed", noting)
    monkeypatch.setattr(driver, "visit", visiting)
    return seen
