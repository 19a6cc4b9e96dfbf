"""The session of those who write: SQLAlchemy's own, made when something is asked of it."""

import pytest

from heroes.hero import Hero
from heroes.team import Team
from kit.database.databases import Database
from kit.fast.bulk_insert import is_complete
from tests.conftest import Client
from tests.shop import new_hero


def team() -> Team:
    return Team(name="Z-Force", headquarters="Sister Margaret's")


async def test_a_row_that_was_added_is_there_for_whoever_asks(database: Database) -> None:
    async with database.write() as session:
        session.add(row := team())
        assert not session.is_open
        assert list(session.new) == [row]
        assert session.is_open
        await session.commit()
    async with database.read() as session:
        assert (await session.get(Team, row.id)) == row


async def test_a_row_that_was_stored_before_is_not_stored_again(client: Client, database: Database) -> None:
    async with database.read() as reading:
        hero = await reading.get(Hero, (await new_hero(client))["id"])
    assert hero is not None
    async with database.write() as session:
        session.add(hero)
        hero.age = 51
        await session.finish()
        await session.commit()
    assert (await client.get(f"/heroes/{hero.id}")).json()["age"] == 51


async def test_a_row_on_which_others_hang_is_not_complete_by_itself() -> None:
    hero = Hero(name="Deadpond", secret_name="Dive Wilson")
    assert is_complete(hero)
    hero.team = team()
    assert not is_complete(hero)


async def test_what_no_session_has_this_one_has_not_either(database: Database) -> None:
    async with database.write() as session:
        with pytest.raises(AttributeError, match="nonsense"):
            session.nonsense  # type: ignore[attr-defined]  # noqa: B018  to look at it is the test
