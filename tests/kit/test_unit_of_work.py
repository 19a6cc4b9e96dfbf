"""When a write is done: committed before it is answered, run again when it collides, and honest when it fails."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import text
from sqlmodel import update

from heroes.hero import Hero
from kit.database.databases import Database
from kit.database.retry import COLLISIONS
from kit.http.problems import found
from kit.models.types import Id
from kit.operations.unit_of_work import Session, UnitOfWork
from tests.conftest import Client, on_postgresql
from tests.probe import probing

router = APIRouter(prefix="/probes", tags=["probes"], route_class=UnitOfWork)


@router.post("/meet/{first_id}/{second_id}")
async def meet_two(first_id: Id, second_id: Id, session: Session) -> dict[str, int]:
    """Locks two heroes in the order given: two such requests in opposite orders are a deadlock."""
    for hero_id in (first_id, second_id):
        found(await session.get(Hero, hero_id)).power += 1
        await session.flush()
        await asyncio.sleep(0.05)
    return {"first": first_id}


@router.post("/overtaken/{hero_id}")
async def be_overtaken(hero_id: Id, session: Session) -> None:
    """Its row has always another version by the time it writes."""
    hero = found(await session.get(Hero, hero_id))
    await session.exec(update(Hero).values(version=Hero.version + 1).execution_options(synchronize_session=False))
    hero.power += 1
    attempts.append(hero_id)
    await session.flush()


@router.post("/sql")
async def run_sql(session: Session) -> None:
    for sentence in statements:
        await session.exec(text(sentence))  # type: ignore[call-overload]  # knows selects only


attempts: list[int] = []
statements: list[str] = []


@pytest.fixture
async def probed(app: FastAPI, database: Database) -> AsyncIterator[Client]:
    attempts.clear()
    async with probing(app, router) as client:
        yield client


async def new_hero(client: Client, **fields: Any) -> httpx.Response:
    return await client.post("/heroes/", json={"name": "Deadpond", "secret_name": "Dive Wilson", **fields})


async def run(client: Client, *sql: str) -> httpx.Response:
    statements[:] = sql
    return await client.post("/probes/sql")


@pytest.mark.usefixtures("deferred")
async def test_a_commit_that_fails_is_a_failure_for_the_caller_too(client: Client) -> None:
    answer = await new_hero(client, team_id=77)
    assert answer.status_code == 409
    assert (await client.get("/heroes/")).json() == []


async def test_what_is_answered_can_be_read_at_once(client: Client) -> None:
    async def write_and_read(number: int) -> None:
        created = await new_hero(client, age=number)
        assert (await client.get(created.headers["Location"])).json() == created.json()

    await asyncio.gather(*(write_and_read(number) for number in range(30)))


async def test_a_handler_that_fails_leaves_nothing_behind(probed: Client) -> None:
    insert = "INSERT INTO team (name, headquarters, version, created_at, updated_at)"
    values = "VALUES ('Z', 'Z', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
    answer = await run(probed, f"{insert} {values}", f"{insert} {values}")
    assert answer.status_code == 409
    assert (await probed.get("/teams/")).json() == []


async def test_units_that_collide_run_again_until_both_are_done(probed: Client) -> None:
    first, second = [(await new_hero(probed)).json()["id"] for _ in range(2)]
    meetings = [probed.post(f"/probes/meet/{a}/{b}") for a, b in [(first, second), (second, first)]]
    assert [answer.status_code for answer in await asyncio.gather(*meetings)] == [200, 200]
    assert [hero["power"] for hero in (await probed.get("/heroes/")).json()] == [2, 2]


async def test_a_unit_that_is_always_overtaken_gives_up_with_a_conflict(probed: Client) -> None:
    hero = (await new_hero(probed)).json()
    answer = await probed.post(f"/probes/overtaken/{hero['id']}")
    assert answer.status_code == 409
    assert len(attempts) == len(COLLISIONS) + 1
    assert (await probed.get(f"/heroes/{hero['id']}")).json() == hero


async def test_a_fault_of_our_own_is_a_500_and_not_blamed_on_the_database(probed: Client) -> None:
    assert (await run(probed, "SELECT * FROM nowhere")).status_code == 500


async def test_a_value_that_breaks_a_check_is_a_422_that_names_its_field(probed: Client) -> None:
    await new_hero(probed)
    answer = await run(probed, "UPDATE hero SET age = -1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/age"


async def test_a_value_that_is_missing_is_a_422_that_names_its_field(probed: Client) -> None:
    await new_hero(probed)
    answer = await run(probed, "UPDATE hero SET power = NULL")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/power"


@on_postgresql
@pytest.mark.usefixtures("dying")
async def test_a_connection_that_breaks_inside_a_commit_leaves_the_outcome_unknown(client: Client) -> None:
    answer = await new_hero(client)
    assert answer.status_code == 503
    assert answer.json()["outcome"] == "unknown"


async def test_concurrent_changes_of_one_thing_without_a_precondition_all_happen(client: Client) -> None:
    hero = (await new_hero(client)).json()
    changes = [client.patch(f"/heroes/{hero['id']}", json={"age": age}) for age in range(1, 21)]
    assert {answer.status_code for answer in await asyncio.gather(*changes)} == {200}
    assert (await client.get(f"/heroes/{hero['id']}")).json()["version"] == 21


async def test_increments_guarded_by_if_match_lose_none(client: Client) -> None:
    path = (await new_hero(client)).headers["Location"]

    async def increment() -> None:
        while True:
            hero = await client.get(path)
            changed = await client.patch(
                path, json={"power": hero.json()["power"] + 1}, headers={"If-Match": hero.headers["ETag"]}
            )
            if changed.status_code == 200:
                return
            assert changed.status_code == 412

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await client.get(path)).json()["power"] == 20


async def test_deleting_a_team_leaves_its_heroes_with_a_new_version_and_no_team(client: Client) -> None:
    team = (await client.post("/teams/", json={"name": "Z-Force", "headquarters": "Bar"})).json()
    hero = (await new_hero(client, team_id=team["id"])).json()
    await client.delete(f"/teams/{team['id']}")
    left = (await client.get(f"/heroes/{hero['id']}")).json()
    assert left["team_id"] is None
    assert left["version"] == hero["version"] + 1
    assert left["updated_at"] > hero["updated_at"]
