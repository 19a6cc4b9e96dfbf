"""Times of rows: those of one row never go back, even if the clock does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import defer
from sqlmodel import col, select, update

from kit import Database
from kit.models import entities
from kit.operations.balances import move_balances
from tests.engines import Client
from tests.kit.bookshop import Book, Journal, Shelf
from tests.kit.probes import Json, execute, new_book, new_shelf, read

pytestmark = pytest.mark.no_fast_path

FUTURE = datetime(2199, 1, 1, tzinfo=UTC)
AHEAD = "2199-01-01 00:00:00.000000"


async def into_the_future(database: Database, table: str) -> None:
    """Set the times of all rows to one in the future, as if the clock had been ahead when they were stored."""
    await execute(database, f"UPDATE {table} SET created_at = '{AHEAD}', updated_at = '{AHEAD}'")  # noqa: S608


def is_ordered(thing: Json) -> bool:
    created, updated = (datetime.fromisoformat(thing[name]) for name in ("created_at", "updated_at"))
    return FUTURE <= created <= updated


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_change_is_never_older_than_the_row(client: Client, database: Database, method: str) -> None:
    book = await new_book(client)
    await into_the_future(database, "kit_book")
    body = {"title": "Emma II"} if method == "PATCH" else {"title": "Emma II", "author": "Jane Austen"}
    changed = (await client.request(method, f"/books/{book['id']}", json=body)).json()
    assert (changed["title"], is_ordered(changed)) == ("Emma II", True)
    assert await read(client, f"/books/{book['id']}") == changed


async def test_a_bulk_change_is_never_older_than_the_row(client: Client, database: Database) -> None:
    books = [await new_book(client) for _ in range(2)]
    await into_the_future(database, "kit_book")
    body = {"ids": [book["id"] for book in books], "changes": {"title": "Emma II"}}
    async with database.write() as session:
        await session.exec(update(Book).where(col(Book.id).in_(body["ids"])).values(title="Emma II"))
        await session.commit()
    assert all([is_ordered(await read(client, f"/books/{book['id']}")) for book in books])


async def test_a_parent_that_is_deleted_leaves_no_older_times(client: Client, database: Database) -> None:
    shelf = await new_shelf(client)
    book = await new_book(client, shelf_id=shelf["id"])
    await into_the_future(database, "kit_book")
    assert (await client.delete(f"/shelves/{shelf['id']}")).status_code == 204
    assert is_ordered(await read(client, f"/books/{book['id']}"))


async def test_a_balance_that_moves_leaves_no_older_times(client: Client, database: Database) -> None:
    book = await new_book(client, copies=3)
    await into_the_future(database, "kit_book")
    async with database.write() as session:
        await move_balances(session, col(Book.copies), [(book["id"], -1)], 10)
        await session.commit()
    moved = await read(client, f"/books/{book['id']}")
    assert (moved["copies"], is_ordered(moved)) == (2, True)


async def test_a_change_has_the_current_time(client: Client) -> None:
    book = await new_book(client)
    before = datetime.now(UTC)
    changed = (await client.patch(f"/books/{book['id']}", json={"title": "Emma II"})).json()
    assert before <= datetime.fromisoformat(changed["updated_at"]) <= datetime.now(UTC)
    same = (await client.patch(f"/books/{book['id']}", json={"title": "Emma II"})).json()
    assert same == changed


async def test_a_time_that_a_handler_sets_is_kept(database: Database) -> None:
    async with database.write() as session:
        session.add(shelf := Shelf(name="A", room="B"))
        await session.flush()
        shelf.updated_at = FUTURE
        await session.flush()
        assert shelf.updated_at == FUTURE
        shelf.name = "C"
        await session.flush()
        assert shelf.updated_at == FUTURE + timedelta(microseconds=1)
        assert (await session.exec(select(Shelf.updated_at))).one() == shelf.updated_at


def clock(*moments: int) -> Callable[[Any], datetime]:
    left = list(moments)
    return lambda _: datetime(2026, 1, 1, second=left.pop(0), tzinfo=UTC)


def test_the_clock_does_not_go_back_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "datetime", type("Clock", (), {"now": staticmethod(clock(30, 10, 40))}))
    monkeypatch.setattr(entities, "last", (datetime(2025, 1, 1, tzinfo=UTC), 0.0))
    assert [entities.now().second for _ in range(3)] == [30, 30, 40]


def test_a_clock_that_travels_to_the_past_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "datetime", type("Clock", (), {"now": staticmethod(clock(30))}))
    monkeypatch.setattr(entities, "last", (FUTURE, monotonic()))
    assert entities.now().second == 30


def test_a_clock_that_was_ahead_for_long_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "last", (FUTURE, 0.0))
    assert entities.now() < FUTURE


def test_postgresql_compares_the_times_too() -> None:
    statement = update(Book).values(title="Emma").compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    assert "updated_at=GREATEST(kit_book.updated_at, " in str(statement)


async def test_a_deletion_is_never_older_than_the_row(database: Database) -> None:
    async with database.write() as session:
        session.add(journal := Journal(title="Nature", code="N", created_at=FUTURE, updated_at=FUTURE))
        await session.flush()
        journal.deleted_at = datetime(2026, 1, 1, tzinfo=UTC)
        await session.flush()
        assert journal.deleted_at == journal.updated_at == FUTURE + timedelta(microseconds=1)


async def test_a_row_whose_time_is_not_loaded_is_renewed_by_its_statement(database: Database) -> None:
    async with database.write() as session:
        session.add(Shelf(name="A", room="B", created_at=FUTURE, updated_at=FUTURE))
        await session.commit()
    async with database.write() as session:
        shelf = (await session.exec(select(Shelf).options(defer(Shelf.updated_at)))).one()  # type: ignore[arg-type]
        shelf.name = "C"
        await session.commit()
    async with database.read() as reader:
        assert (await reader.exec(select(Shelf.updated_at))).one() == FUTURE
