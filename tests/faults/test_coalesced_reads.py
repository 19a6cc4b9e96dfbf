"""Coalesced reads beside writes, a million with `THOROUGH=1`: no read returns a value older than its start."""

import asyncio
import os
import random
from typing import Any

import pytest
from sqlmodel import SQLModel, col, select, update

from heroes.hero import Hero
from kit import Database
from tests.engines import url_for
from tests.faults.figures import seen

HEROES, READERS, LISTERS = 50, 100, 4
OPERATIONS = 1_000_000 if "THOROUGH" in os.environ else 250_000


class Race:
    """Writers increase the power of heroes. Readers compare the result with the last commit before they started."""

    def __init__(self, database: Database) -> None:
        self.database, self.reads, self.lists, self.writes = database, 0, 0, 0
        self.committed = dict.fromkeys(range(1, HEROES + 1), 0)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(self.read()) for _ in range(READERS)]
            listers = [group.create_task(self.list()) for _ in range(LISTERS)]
            writer = group.create_task(self.write())
            await asyncio.wait(readers)
            for task in (writer, *listers):
                task.cancel()

    async def read(self) -> None:
        while self.reads < OPERATIONS:
            hero_id = random.randint(1, HEROES)
            known = self.committed[hero_id]
            async with self.database.read() as session:
                hero = await session.get(Hero, hero_id)
            assert hero is not None
            assert hero.power >= known
            self.reads += 1
            if random.random() < 0.3:  # otherwise all readers would start at the same moments, never during a query
                await asyncio.sleep(random.uniform(0, 0.002))

    async def list(self) -> None:
        async def powers() -> Any:
            async with self.database.read() as session:
                return (await session.exec(select(Hero.id, Hero.power))).all()

        while True:
            known = dict(self.committed)
            session: Any = self.database.read()
            shown = dict(await session.once("powers", powers))
            assert all(shown[hero_id] >= power for hero_id, power in known.items())
            self.lists += 1
            await asyncio.sleep(0.005)

    async def write(self) -> None:
        while True:
            hero_id, power = random.randint(1, HEROES), self.writes + 1
            async with self.database.write() as session:
                await session.exec(update(Hero).where(col(Hero.id) == hero_id).values(power=power))
                await session.commit()
            self.committed[hero_id], self.writes = power, power


async def made(url: str) -> Database:
    database = Database(url_for(url))
    async with database.writer.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with database.write() as session:
        session.add_all([Hero(name=str(number), secret_name="x") for number in range(HEROES)])
        await session.commit()
    databases = pytest.importorskip("kit.fast.databases")
    databases.use_fast_sessions(database, coalesce=True, group=False)
    return database


async def test_a_read_returns_everything_committed_before_it_started(database_url: str, engine: str) -> None:
    race = Race(await made(database_url))
    await race.run()
    await race.database.dispose()
    assert race.writes > 500
    figures = f"{race.reads:,} reads and {race.lists:,} lists during {race.writes:,} writes, none of the past"
    seen(f"coalesced reads, {engine}", figures)
