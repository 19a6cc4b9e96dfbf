"""Rows that are read past the ORM: the same values, on connections that live, and none that is lost."""

import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import Select, Text, TypeDecorator, inspect, literal, text, type_coerce
from sqlalchemy.exc import EmulatedDBAPIException
from sqlmodel import SQLModel, col, select

from heroes.team import Team, TeamQuery, TeamRead
from kit.database.databases import Database
from kit.database.errors import FAILURES, meaning_of
from kit.fast.instances import detached
from kit.fast.rows import Plan, fetch, plans
from kit.http.encoding import to_json
from kit.operations.unit_of_work import ReadSession, UnitOfWork
from kit.query.pages import Page, page
from tests.conftest import Client, on_postgresql
from tests.probe import probing, until
from tests.shop import made, new_product, new_user

TEAM = {"name": "Z-Force", "headquarters": "Sharp Tower"}


class Shouted(TypeDecorator[str]):
    """A type of which SQLAlchemy may not keep statements."""

    impl = Text
    cache_ok = False


router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)


@router.get("/uncommon", response_model=list[TeamRead])
async def list_by_an_uncommon_type(query: Annotated[TeamQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Team).where(type_coerce(col(Team.name), Shouted()) != "x"))


async def test_a_statement_that_cannot_be_kept_is_executed_all_the_same(database: Database) -> None:
    async with database.read() as session:
        assert await session.fetch(select(type_coerce(literal("HERE"), Shouted()))) == [("HERE",)]


async def test_all_values_are_those_that_the_orm_reads(client: Client, database: Database) -> None:
    owner = await new_user(client)
    await new_product(client)
    await made(client, "/items/", name="Kettle", price="0.10", owner_id=owner["id"])
    await made(client, "/heroes/", name="é\u2028", secret_name='"\\', age=None, power=10**9)
    async with database.read() as session, database.reader.connect() as connection:
        for table in SQLModel.metadata.sorted_tables:
            through: Any = (await connection.execute(Select(table))).all()
            past = await fetch(database.reader, Select(table))
            assert [tuple(row) for row in past] == [tuple(row) for row in through]
            shown = await session.fetch(Select(table))
            assert to_json([tuple(row) for row in shown]) == to_json([tuple(row) for row in through])


@pytest.mark.parametrize("microsecond", [0, 1, 500_000])
async def test_a_time_is_written_the_same_of_one_thing_and_of_many(
    client: Client, database: Database, microsecond: int
) -> None:
    async with database.write() as session, session.begin():
        session.add(Team(name="Z-Force", headquarters="X", created_at=datetime(2026, 1, 2, 3, 4, 5, microsecond, UTC)))
    (one,) = (await client.get("/teams/")).json()
    assert one == (await client.get(f"/teams/{one['id']}")).json()
    assert one["created_at"] == f"2026-01-02T03:04:05.{microsecond:06}Z".replace(".000000", "")


@pytest.mark.parametrize("names", [["Z-Force"], ["Z-Force", "Wreckers", "Preventers"]])
async def test_a_list_of_values_in_a_statement_may_grow(client: Client, database: Database, names: list[str]) -> None:
    await made(client, "/teams/", **TEAM)
    async with database.read() as session:
        assert await session.fetch(select(col(Team.name)).where(col(Team.name).in_(names))) == [("Z-Force",)]


async def test_a_list_that_cannot_be_compared_with_another_is_read_alone(app: FastAPI, client: Client) -> None:
    team = await made(client, "/teams/", **TEAM)
    async with probing(app, router) as probed:
        assert (await probed.get("/probes/uncommon")).json() == [team]


async def test_a_statement_is_compiled_once(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.get("/teams/?name=one&sort=-name")
    monkeypatch.setattr(Plan, "__init__", lambda *_: pytest.fail("compiled again"))
    assert (await client.get("/teams/?name=another&sort=-name")).json() == []
    assert len(plans) > 0


@on_postgresql
async def test_a_connection_that_has_ended_is_not_used(database: Database) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with database.connect() as living:
        async with database.connect() as dying:
            driver: Any = (await dying.get_raw_connection()).driver_connection
        await living.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {others}"))
        await until(driver.is_closed)
        async with database.read() as session:
            assert await session.fetch(select(literal(1))) == [(1,)]


async def test_a_read_that_fails_gives_up_its_connection_and_no_more(database: Database) -> None:
    pool: Any = database.reader.sync_engine.pool
    async with database.read() as session:
        with pytest.raises(Exception, match="no_such_table"):
            await session.fetch(select(text("1")).select_from(text("no_such_table")))
        assert pool.checkedout() == 0
        assert await session.fetch(select(literal(1))) == [(1,)]


async def test_statements_past_the_orm_are_echoed_too(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    database.reader.echo = True
    try:
        async with database.read() as session:
            await session.fetch(select(col(Team.name)).where(col(Team.id) == 77))
    finally:
        database.reader.echo = False
    assert "77" in caplog.text
    assert "FROM team" in caplog.text


async def test_what_is_got_is_detached_and_loads_nothing_by_itself() -> None:
    values = {"id": 7, "version": 1, "created_at": None, "updated_at": None, **TEAM}
    team = detached(Team, values)
    assert inspect(team).detached
    assert (team.id, team.name) == (7, "Z-Force")
    with pytest.raises(Exception, match="lazy='raise'"):
        _ = team.heroes


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        EmulatedDBAPIException("the database system is shutting down"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_a_driver_says_of_a_dead_connection_is_a_lost_connection(failure: Exception) -> None:
    assert isinstance(failure, FAILURES)
    assert meaning_of(failure) == "lost"
