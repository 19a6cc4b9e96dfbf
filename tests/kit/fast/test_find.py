"""`Database.find`: a row outside of any session, with shortcuts where the result is the same."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import event, inspect

from kit.database.databases import Database
from kit.database.errors import Unreachable
from kit.fast import read_sessions
from kit.fast.databases import use_fast_sessions
from tests.kit.fast.conftest import opened
from tests.kit.fast.notes import FastNote, note, store


@pytest.fixture
async def sparse(plain: Database, fast_url: str) -> AsyncIterator[Database]:
    """Provide the same database without the shortcut for single rows."""
    database = opened(fast_url)
    use_fast_sessions(database, coalesce=True, group=True, without=frozenset({"get"}))
    yield database
    await database.dispose()


@pytest.fixture
def listener() -> Iterator[list[object]]:
    """Provide the notes that a listener has seen while they were loaded."""
    seen: list[object] = []

    def see(row: object, *_: object) -> None:
        seen.append(row)

    event.listen(FastNote, "load", see)
    yield seen
    event.remove(FastNote, "load", see)


async def test_a_row_is_found_without_a_session(database: Database, plain: Database, direct_sql: list[str]) -> None:
    await store(plain, row := note("a"))
    found, expected = await database.find(FastNote, row.id), await plain.find(FastNote, row.id)
    assert found == expected
    assert inspect(found).detached
    assert len(direct_sql) == 1


async def test_an_absent_row_is_not_found(database: Database, plain: Database) -> None:
    assert (await database.find(FastNote, 777), await plain.find(FastNote, 777)) == (None, None)


async def test_finds_at_the_same_time_share_a_query(database: Database, plain: Database, direct_sql: list[str]) -> None:
    await store(plain, *(rows := [note(f"{number}") for number in range(9)]))
    found = await asyncio.gather(*(database.find(FastNote, row.id) for row in rows * 2))
    assert [row.text for row in found if row] == [row.text for row in rows * 2]
    assert len(direct_sql) == 2


async def test_a_session_finds_a_row_for_a_listener(
    database: Database, plain: Database, direct_sql: list[str], listener: list[object]
) -> None:
    await store(plain, row := note("a"))
    found = await database.find(FastNote, row.id)
    assert listener == [found]
    assert direct_sql == []


async def test_a_session_finds_a_row_without_the_shortcut(
    sparse: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, row := note("a"))
    found = await sparse.find(FastNote, row.id)
    assert found is not None
    assert found.text == "a"
    assert direct_sql == []


async def test_a_session_finds_a_row_on_another_event_loop(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, row := note("a"))
    owner, database.owner = database.owner, asyncio.new_event_loop()
    assert await database.find(FastNote, row.id) is not None
    assert direct_sql == []
    await database.dispose()
    database.owner.close()
    database.owner = owner


async def test_a_failure_that_may_pass_is_retried(plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(plain, row := note("a"))
    failures, read_row = [Unreachable("no server")], plain.read_row

    async def read(entity: type[FastNote], ident: int) -> object:
        if failures:
            raise failures.pop()
        return await read_row(entity, ident)

    monkeypatch.setattr(plain, "read_row", read)
    assert (await plain.find(FastNote, row.id)) is not None


def text_of(row: FastNote) -> tuple[int, str]:
    return row.id, row.text


async def test_what_is_made_of_a_row_is_made_once_for_all_that_read_it(
    database: Database, plain: Database, direct_sql: list[str]
) -> None:
    await store(plain, *(rows := [note("a"), note("b")]))
    made = await asyncio.gather(*(database.find_as(FastNote, row.id, text_of) for row in rows * 3))
    assert made == [(row.id, row.text) for row in rows * 3]
    assert made[2] is made[4]
    assert len(direct_sql) == 2
    assert (await database.find_as(FastNote, 777, text_of), await plain.find_as(FastNote, 777, text_of)) == (None, None)


async def test_what_is_made_of_a_row_is_made_of_that_of_a_session_for_a_listener(
    database: Database, unshared: Database, plain: Database, direct_sql: list[str], listener: list[object]
) -> None:
    await store(plain, row := note("a"))
    for each in (database, unshared):
        assert await each.find_as(FastNote, row.id, text_of) == (row.id, "a")
    assert len(listener) == 2
    assert direct_sql == []


async def test_a_shared_read_is_retried(database: Database, plain: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await store(plain, row := note("a"))
    failures, rows_by_id = [Unreachable("no server")], read_sessions.rows_by_id

    async def read(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await rows_by_id(*arguments)

    monkeypatch.setattr(read_sessions, "rows_by_id", read)
    assert await database.find_as(FastNote, row.id, text_of) == (row.id, "a")
