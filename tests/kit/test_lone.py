"""How a row is stored that is all that a unit writes: by one INSERT, past the ORM, and with the same promises."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel import select

from heroes.hero import Hero
from heroes.team import Team
from kit.database.databases import Database
from kit.fast import single_insert as lone
from kit.fast.single_insert import control
from kit.operations.unit_of_work import Session, UnitOfWork
from tests.conftest import Client
from tests.probe import probing
from tests.statements import statements_of

TEAM = {"name": "Z-Force", "headquarters": "Sister Margaret's"}
router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)


@router.post("/two")
async def make_two(session: Session) -> None:
    session.add_all([Team(name="Z-Force", headquarters="Bar"), Team(name="Preventers", headquarters="Tower")])


@router.post("/looked")
async def look_and_make(session: Session) -> None:
    await session.exec(select(Team.id))
    session.add(Team(name="Z-Force", headquarters="Bar"))


@pytest.fixture
async def probed(app: FastAPI, database: Database) -> AsyncIterator[Client]:
    async with probing(app, router) as client:
        yield client


@pytest.fixture
def flushes(database: Database) -> Iterator[list[object]]:
    """Of the ORM."""
    seen: list[object] = []
    session_class: Any = type(database.write().sync_session)

    def note(session: object, _: object) -> None:
        seen.append(session)

    event.listen(session_class, "after_flush", note)
    yield seen
    event.remove(session_class, "after_flush", note)


async def test_a_row_that_is_alone_is_one_statement_and_no_work_for_the_orm(
    client: Client, database: Database, flushes: list[object]
) -> None:
    with statements_of(database.writer) as statements:
        created = await client.post("/teams/", json=TEAM)
    assert [statement.split("(")[0] for statement in statements] == ["INSERT INTO team "]
    assert flushes == []
    assert (await client.get(f"/teams/{created.json()['id']}")).json() == created.json()


async def test_a_row_that_has_its_id_already_is_stored_with_it(client: Client, flushes: list[object]) -> None:
    created = await client.post("/categories/", json={"name": "Kitchen", "slug": "kitchen"})
    assert flushes == []
    assert (await client.get(created.headers["Location"])).json() == created.json()


@pytest.mark.parametrize("path", ["/probes/two", "/probes/looked"])
async def test_what_is_not_alone_is_left_to_the_orm(probed: Client, flushes: list[object], path: str) -> None:
    assert (await probed.post(path)).status_code == 204
    assert len(flushes) == 1
    assert (await probed.get("/teams/?name=Z-Force")).json() != []


async def test_a_row_that_somebody_listens_to_is_left_to_the_orm(client: Client, flushes: list[object]) -> None:
    heard: list[Any] = []

    def hear(*happening: Any) -> None:
        heard.append(happening[-1].name)

    event.listen(Hero, "before_insert", hear)
    try:
        await client.post("/heroes/", json={"name": "Deadpond", "secret_name": "Dive Wilson"})
    finally:
        event.remove(Hero, "before_insert", hear)
    assert (heard, len(flushes)) == (["Deadpond"], 1)


async def test_a_value_that_is_taken_costs_no_connection(client: Client, database: Database) -> None:
    await client.post("/teams/", json=TEAM)
    made: list[object] = []
    event.listen(database.writer.sync_engine, "connect", lambda connection, _: made.append(connection))
    answers = [await client.post("/teams/", json=TEAM) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert made == []
    assert (await client.post("/teams/", json={**TEAM, "name": "Preventers"})).status_code == 201


async def test_a_connection_that_cannot_be_rolled_back_is_not_used_again(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post("/teams/", json=TEAM)
    made: list[object] = []
    event.listen(database.writer.sync_engine, "connect", lambda connection, _: made.append(connection))
    words: list[str] = []

    async def broken_once(connection: PoolProxiedConnection, word: str) -> None:
        words.append(word)
        if words.count("ROLLBACK") == words.count(word) == 1:
            raise ConnectionResetError
        await control(connection, word)

    monkeypatch.setattr(lone, "control", broken_once)
    assert (await client.post("/teams/", json=TEAM)).status_code == 409  # it was asked again
    assert words.count("ROLLBACK") == 2
    assert len(made) == 1


async def test_an_insert_past_the_orm_is_echoed_too(
    client: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.writer.echo = True
    try:
        await client.post("/teams/", json=TEAM)
    finally:
        database.writer.echo = False
    assert "INSERT INTO team" in caplog.text
