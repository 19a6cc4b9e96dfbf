"""How many rows are stored at once: by one INSERT, past the ORM, and as if the session had done it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import DefaultClause, event
from sqlmodel import select

from heroes.category import Category
from heroes.hero import Hero
from heroes.team import Team
from kit.database.databases import Database
from kit.fast.bulk_insert import is_complete, with_defaults
from kit.fast.processors import columns_of
from kit.models.entities import Entity
from tests.conftest import on_sqlite
from tests.probe import execute
from tests.statements import statements_of


def team(name: str, **fields: Any) -> Team:
    return Team(name=name, headquarters="Sharp Tower", **fields)


def kitchen() -> Category:
    return Category(name="Kitchen", slug="kitchen")


async def inserts(database: Database, *rows: Entity) -> int:
    """Store these, and tell in how many statements."""
    with statements_of(database.writer) as statements:
        async with database.write() as session:
            await session.insert_all(rows)
            await session.commit()
    return len([statement for statement in statements if statement.startswith("INSERT")])


async def names(database: Database) -> list[tuple[int, str]]:
    async with database.write() as session:
        return list(await session.exec(select(Team.id, Team.name).order_by(Team.id)))  # type: ignore[arg-type]  # a column


async def test_rows_get_their_ids_in_order_in_one_statement(database: Database) -> None:
    rows = [team(f"Team {number}") for number in range(20)]
    assert await inserts(database, *rows) == 1
    assert [(row.id, row.name) for row in rows] == await names(database)
    assert [row.id for row in rows] == sorted(row.id for row in rows)


async def test_rows_that_have_their_ids_keep_them(database: Database) -> None:
    assert await inserts(database, team("Z-Force", id=9), team("Preventers", id=7)) == 1
    assert await names(database) == [(7, "Preventers"), (9, "Z-Force")]


async def test_rows_that_make_their_ids_themselves_keep_them(database: Database) -> None:
    category = kitchen()
    ident = category.id
    assert (await inserts(database, category), category.id) == (1, ident)


async def test_what_is_changed_afterwards_is_stored_too(database: Database) -> None:
    async with database.write() as session:
        rows = [team("Z-Force"), team("Preventers")]
        await session.insert_all(rows)
        rows[1].name = "Avengers"
        await session.commit()
    assert [name for _, name in await names(database)] == ["Z-Force", "Avengers"]
    assert (rows[0].version, rows[1].version) == (1, 2)


async def test_what_was_added_before_is_stored_before(database: Database) -> None:
    async with database.write() as session:
        session.add(team("Z-Force", id=3))
        await session.insert_all([Hero(name="Deadpond", secret_name="Dive Wilson", team_id=3)])
        await session.commit()
    assert await names(database) == [(3, "Z-Force")]


async def test_none_are_nothing(database: Database) -> None:
    assert await inserts(database) == 0


@pytest.mark.parametrize("other", [kitchen, partial(team, "Preventers", id=90)])
async def test_rows_that_are_not_alike_are_stored_all_the_same(database: Database, other: Callable[[], Entity]) -> None:
    assert await inserts(database, team("Z-Force"), other()) == 2
    assert "Z-Force" in [name for _, name in await names(database)]


async def test_who_listens_to_a_row_hears_of_it(database: Database) -> None:
    heard: list[Any] = []

    def hear(*happening: Any) -> None:
        heard.append(happening[-1].name)

    event.listen(Team, "after_insert", hear)
    try:
        await inserts(database, team("Z-Force"), team("Preventers"))
    finally:
        event.remove(Team, "after_insert", hear)
    assert heard == ["Z-Force", "Preventers"]


def test_where_the_database_has_a_default_none_is_not_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    villain = Hero(name="Ajax", secret_name="Francis", age=None)
    assert is_complete(villain)
    monkeypatch.setattr(columns_of(Hero)["age"], "server_default", DefaultClause("18"))
    with_defaults.cache_clear()
    assert not is_complete(villain)
    assert is_complete(Hero(name="Ajax", secret_name="Francis", age=40))
    monkeypatch.undo()
    with_defaults.cache_clear()


def test_an_id_that_nobody_counts_has_to_be_there() -> None:
    category = kitchen()
    assert is_complete(category)
    category.id = None  # type: ignore[assignment]  # on purpose
    assert not is_complete(category)


@on_sqlite
async def test_an_id_is_not_given_again_after_its_row_has_gone(database: Database) -> None:
    await inserts(database, team("Z-Force"), team("Preventers"))
    await execute(database, "DELETE FROM team")
    await inserts(database, team("Avengers"), team("X-Men"))
    assert await names(database) == [(3, "Avengers"), (4, "X-Men")]


@on_sqlite
async def test_where_sqlite_remembers_no_ids_they_follow_the_largest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await inserts(database, team("Z-Force", id=40))
    await execute(database, "DELETE FROM sqlite_sequence")
    table: Any = Team.__table__  # type: ignore[attr-defined]  # SQLAlchemy's
    monkeypatch.setitem(table.dialect_options["sqlite"], "autoincrement", False)
    await inserts(database, team("Preventers"))
    assert await names(database) == [(40, "Z-Force"), (41, "Preventers")]
