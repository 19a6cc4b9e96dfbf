"""The unit of work: it commits before the response, runs again after a conflict, and reports failures correctly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import text
from sqlmodel import update

from kit import Database, Id, Session, allowing, found
from kit.database.retry import CONFLICT_PAUSES
from tests.engines import Client, on_postgresql
from tests.kit.bookshop import Book
from tests.kit.probes import BOOK, SHELF
from tests.kit.service import client_of, create_runtime, create_service

router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing())


@router.post("/meet/{first_id}/{second_id}")
async def lock_two(first_id: Id, second_id: Id, session: Session) -> dict[str, int]:
    """Lock two books in the given order: two such requests with opposite orders are a deadlock."""
    for book_id in (first_id, second_id):
        found(await session.get(Book, book_id)).copies += 1
        await session.flush()
        await asyncio.sleep(0.05)
    return {"first": first_id}


@router.post("/overtaken/{book_id}")
async def always_conflict(book_id: Id, session: Session) -> None:
    """Write a row that another transaction always changes first."""
    book = found(await session.get(Book, book_id))
    await session.exec(update(Book).values(version=Book.version + 2).execution_options(synchronize_session=False))
    book.copies += 1
    attempts.append(book_id)
    await session.flush()


@router.post("/sql")
async def run_sql(session: Session) -> None:
    for sentence in statements:
        await session.exec(text(sentence))  # type: ignore[call-overload]  # knows selects only


attempts: list[int] = []
statements: list[str] = []


@pytest.fixture
async def probed(database: Database) -> AsyncIterator[Client]:
    attempts.clear()
    async with client_of(create_service(create_runtime(database), router)) as client:
        yield client


async def new_book(client: Client, **fields: Any) -> httpx.Response:
    return await client.post("/books/", json=BOOK | fields)


async def run(client: Client, *sql: str) -> httpx.Response:
    statements[:] = sql
    return await client.post("/probes/sql")


@pytest.mark.usefixtures("deferred_foreign_keys")
async def test_a_failed_commit_is_reported_to_the_client(client: Client) -> None:
    answer = await new_book(client, shelf_id=77)
    assert answer.status_code == 409
    assert (await client.get("/books/")).json() == []


async def test_a_write_can_be_read_immediately_after_its_response(client: Client) -> None:
    async def write_and_read(number: int) -> None:
        created = await new_book(client, year=number)
        assert (await client.get(created.headers["Location"])).json() == created.json()

    await asyncio.gather(*(write_and_read(number) for number in range(30)))


async def test_a_failing_handler_stores_nothing(probed: Client) -> None:
    insert = "INSERT INTO kit_shelf (name, room, version, created_at, updated_at)"
    values = "VALUES ('Z', 'Z', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
    answer = await run(probed, f"{insert} {values}", f"{insert} {values}")
    assert answer.status_code == 409
    assert (await probed.get("/shelves/")).json() == []


@pytest.mark.each_engine
async def test_conflicting_requests_are_retried_until_both_succeed(probed: Client) -> None:
    first, second = [(await new_book(probed)).json()["id"] for _ in range(2)]
    meetings = [probed.post(f"/probes/meet/{a}/{b}") for a, b in [(first, second), (second, first)]]
    assert [answer.status_code for answer in await asyncio.gather(*meetings)] == [200, 200]
    assert [book["copies"] for book in (await probed.get("/books/")).json()] == [2, 2]


async def test_a_request_that_conflicts_every_time_is_a_409(probed: Client) -> None:
    book = (await new_book(probed)).json()
    answer = await probed.post(f"/probes/overtaken/{book['id']}")
    assert answer.status_code == 409
    assert len(attempts) == len(CONFLICT_PAUSES) + 1
    assert (await probed.get(f"/books/{book['id']}")).json() == book


@pytest.mark.each_engine
async def test_a_programming_error_is_a_500(probed: Client) -> None:
    assert (await run(probed, "SELECT no_such_column FROM kit_book")).status_code == 500


async def test_a_missing_table_is_a_503_with_an_instruction(probed: Client) -> None:
    answer = await run(probed, "SELECT * FROM nowhere")
    assert answer.status_code == 503
    assert "make migrate" in answer.json()["detail"]


async def test_a_value_that_violates_a_check_is_a_422_that_names_its_field(probed: Client) -> None:
    await new_book(probed)
    answer = await run(probed, "UPDATE kit_book SET year = -1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/year"


async def test_a_missing_value_is_a_422_that_names_its_field(probed: Client) -> None:
    await new_book(probed)
    answer = await run(probed, "UPDATE kit_book SET copies = NULL")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/copies"


@on_postgresql
@pytest.mark.usefixtures("connection_lost_at_commit")
async def test_a_connection_lost_during_a_commit_leaves_the_outcome_unknown(client: Client) -> None:
    answer = await new_book(client)
    assert answer.status_code == 503
    assert answer.json()["outcome"] == "unknown"


@pytest.mark.each_engine
async def test_concurrent_changes_of_one_row_without_a_precondition_all_succeed(client: Client) -> None:
    book = (await new_book(client)).json()
    changes = [client.patch(f"/books/{book['id']}", json={"year": year}) for year in range(1, 21)]
    assert {answer.status_code for answer in await asyncio.gather(*changes)} == {200}
    assert (await client.get(f"/books/{book['id']}")).json()["version"] == 21


async def test_concurrent_increments_with_if_match_are_all_applied(client: Client) -> None:
    path = (await new_book(client)).headers["Location"]

    async def increment() -> None:
        while True:
            book = await client.get(path)
            changed = await client.patch(
                path, json={"copies": book.json()["copies"] + 1}, headers={"If-Match": book.headers["ETag"]}
            )
            if changed.status_code == 200:
                return
            assert changed.status_code == 412

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await client.get(path)).json()["copies"] == 20


async def test_deleting_a_shelf_leaves_its_books_with_a_new_version_and_no_shelf(client: Client) -> None:
    shelf = (await client.post("/shelves/", json=SHELF)).json()
    book = (await new_book(client, shelf_id=shelf["id"])).json()
    await client.delete(f"/shelves/{shelf['id']}")
    left = (await client.get(f"/books/{book['id']}")).json()
    assert left["shelf_id"] is None
    assert left["version"] == book["version"] + 1
    assert left["updated_at"] > book["updated_at"]
