"""Whose is it: a session of members writes what is theirs, and nothing that is nobody's."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from heroes.item import Item
from heroes.team import Team
from heroes.user import User
from kit.auth.permissions import CALLER, Caller
from kit.database.databases import Database
from kit.http.problems import Problem

ROWS: dict[str, Callable[[], Any]] = {
    "a thing that belongs to nobody": lambda: Team(name="Avengers", headquarters="New York"),
    "a thing of another": lambda: Item(name="Teapot", price=Decimal(1), owner_id=8),
    "another user": lambda: User(id=8, username="steve", email="steve@example.com", hashed_password="x"),
}


@pytest.mark.parametrize("kind", ROWS)
async def test_what_is_not_theirs_is_not_written(kind: str, database: Database) -> None:
    CALLER.set(Caller(7))
    async with database.write(only_theirs=True) as session:
        session.add(ROWS[kind]())
        with pytest.raises(Problem) as refused:
            await session.flush()
    assert refused.value.status_code == 403


async def test_where_nobody_asks_everything_is_written(database: Database) -> None:
    CALLER.set(Caller(None, is_superuser=True))
    async with database.write(only_theirs=True) as session:
        session.add(Team(name="Avengers", headquarters="New York"))
        await session.flush()
