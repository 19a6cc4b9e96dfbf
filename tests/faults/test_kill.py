"""SIGKILL of the service and of PostgreSQL during writes: every acknowledged write is stored once and completely."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import make_url

from tests.engines import on_postgresql
from tests.faults.client import TIMEOUT_SECONDS, Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.ledger import Ledger, everything, open_ledger
from tests.faults.postgres import Postgres
from tests.faults.waiting import until
from tests.live import Server

CLIENTS, WRITES, KILLS = 16, 2000, 3


async def write(ledger: Ledger, port: int) -> None:
    names = iter([f"movement-{number}" for number in range(WRITES)])
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(ledger.move_all(port, names))


async def kill(ledger: Ledger, killing: Callable[[], None]) -> None:
    """Kill at regular intervals."""
    for number in range(1, KILLS + 1):
        await ledger.reaches(WRITES * number // (KILLS + 2))
        await asyncio.to_thread(killing)


async def test_a_killed_service_stores_every_acknowledged_write_once(serve: Serve, engine: str) -> None:
    server = serve()

    def killing() -> None:
        server.kill()
        server.start()

    ledger = await open_ledger(server.port)
    await asyncio.gather(write(ledger, server.port), kill(ledger, killing))
    stored = await ledger.check(server.port)
    assert ledger.statuses.keys() <= {201, "lost"}
    acknowledged = len(ledger.acknowledged)
    seen(
        f"kill -9 of the service, {engine}",
        f"{WRITES} writes, {KILLS} kills: {acknowledged} acknowledged, {stored} stored, none lost, doubled or half",
    )


class ConcurrentHeroes:
    """Heroes that are created concurrently, so that group commit stores them together; and the responses."""

    def __init__(self, port: int) -> None:
        self.port, self.statuses = port, dict[str, int | str]()

    async def enter_all(self, names: Iterator[str]) -> None:
        async with Client(self.port) as client:
            for name in names:
                self.statuses[name] = await self.enter(client, name)

    async def reaches(self, number: int) -> None:
        async def has_answers() -> bool:
            return len(self.statuses) >= number

        await until(has_answers, TIMEOUT_SECONDS)

    async def enter(self, client: Client, name: str) -> int | str:
        try:
            return (await client.send("POST", "/heroes/", {"name": name, "secret_name": "x"})).status
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            return await self.enter(client, name)
        except ConnectionError:
            return "lost"


async def test_rows_of_a_group_commit_survive_a_kill(serve: Serve, engine: str) -> None:
    server = serve()
    roll, names = ConcurrentHeroes(server.port), iter([f"Hero {number}" for number in range(WRITES)])
    entering = [asyncio.create_task(roll.enter_all(names)) for _ in range(CLIENTS)]
    for number in range(1, KILLS + 1):
        await roll.reaches(WRITES * number // (KILLS + 2))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await asyncio.gather(*entering)
    stored = Counter(hero["name"] for hero in await everything(server.port, "/heroes/?fields=id,name"))
    acknowledged = {name for name, status in roll.statuses.items() if status == 201}
    assert set(roll.statuses.values()) <= {201, "lost"}
    assert set(stored.values()) == {1}
    assert acknowledged <= stored.keys()
    seen(
        f"kill -9 of the service amid rows that are stored together, {engine}",
        f"{WRITES} heroes, {KILLS} kills: {len(acknowledged)} acknowledged, {len(stored)} stored, none lost or doubled",
    )


@on_postgresql
async def test_a_killed_postgresql_stores_every_acknowledged_write_once(serve: Serve, postgres: Postgres) -> None:
    server = serve()

    def killing() -> None:
        postgres.kill()
        postgres.start()

    ledger = await open_ledger(server.port)
    await asyncio.gather(write(ledger, server.port), kill(ledger, killing))
    stored = await ledger.check(server.port)
    assert ledger.statuses.keys() <= {201, 503}
    seen(
        "kill -9 of PostgreSQL",
        f"{WRITES} writes, {KILLS} kills: {ledger.statuses[201]} × 201, {ledger.statuses[503]} × 503, {stored} stored,"
        " none lost, doubled or half",
    )


@pytest.fixture
def deferred(serve: Serve, engine: str, database_url: str, request: pytest.FixtureRequest) -> Server:
    """Provide a service whose foreign keys are deferred: checked at COMMIT."""
    server = serve(DEFER_FOREIGN_KEYS="yes" if engine == "sqlite" else "")
    if engine == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        defer = "ALTER TABLE hero ALTER CONSTRAINT fk_hero_team_id DEFERRABLE INITIALLY DEFERRED"
        postgres.sql(str(make_url(database_url).database), defer)
    return server


async def test_a_failed_commit_is_a_409_and_does_not_affect_other_requests(deferred: Server) -> None:
    async def create(number: int) -> tuple[int, ...]:
        """Create a hero; every second one refers to a team that does not exist."""
        hero = {"name": "Deadpond", "secret_name": "Dive Wilson", "age": number}
        async with Client(deferred.port) as client:
            answer = await client.send("POST", "/heroes/", hero | ({"team_id": 77} if number % 2 else {}))
        return number, answer.status

    answers = await asyncio.gather(*(create(number) for number in range(60)))
    assert answers == [(number, 409 if number % 2 else 201) for number in range(60)]
    ages = [hero["age"] for hero in await everything(deferred.port, "/heroes/")]
    assert sorted(ages) == [number for number in range(60) if number % 2 == 0]
