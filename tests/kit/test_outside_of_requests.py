"""Sessions outside of requests, as in jobs, scripts and libraries."""

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlmodel import select

from kit import Database
from tests.kit.bookshop import Shelf


def outside() -> Shelf:
    return Shelf(name="outside", room="Cellar")


async def names(database: Database) -> list[str]:
    async with database.read() as session:
        return list((await session.exec(select(Shelf.name))).all())


async def test_a_job_stores_rows_in_one_transaction(database: Database) -> None:
    async with database.write() as session, session.begin():
        session.add(outside())
    assert await names(database) == ["outside"]


async def test_nothing_is_stored_if_the_job_fails(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as session, session.begin():
            session.add(outside())
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await names(database) == []


async def test_a_library_makes_sessions_of_the_engine(database: Database) -> None:
    async with async_sessionmaker(database.writer)() as session:
        session.add(outside())
        await session.commit()
    assert await names(database) == ["outside"]
