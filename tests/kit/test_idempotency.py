"""Idempotency: the first response to a key is stored with its effect, and replayed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import APIRouter, Body
from httpx import Response
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col, delete, insert, select, text, update

from kit import Database, Id, Password, Problem, Service, Session, Who, allowing, found, now
from kit.database.engines import Pool
from kit.database.errors import OutOfRange, Unreachable
from kit.operations import idempotency
from kit.operations.idempotency import REPLAYED, StoredResponse
from tests.engines import Client, on_postgresql
from tests.kit.bookshop import Book, Shelf
from tests.kit.probes import (
    BOOK,
    SHELF,
    TIMEOUT_SECONDS,
    Json,
    blocked,
    execute,
    new_book,
    new_shelf,
    read,
    until,
    with_attributes,
)
from tests.kit.service import client_of, create_runtime, create_service
from tests.people import Person

FIRST = ("content-type", "location", "etag")
"""The headers of the first response that a replay repeats."""
RACERS = 50
DAY = timedelta(hours=24)
SECRET = "Zq9-swordfish"  # noqa: S105  to be looked for

router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing(create=Who.MEMBERS))
failures: list[Exception] = []
attempts: list[int] = []
held = asyncio.Event()
entered = asyncio.Event()


@router.post("/failing")
async def fail_at_first(session: Session) -> int:
    """Create a shelf, and raise the next of the prepared failures."""
    session.add(Shelf.model_validate(SHELF))
    await session.flush()
    if failures:
        raise failures.pop(0)
    return 1


@router.post("/books/{book_id}")
async def find_book(book_id: Id, session: Session) -> int:
    """Create a shelf, then get the book."""
    session.add(Shelf.model_validate(SHELF))
    await session.flush()
    return found(await session.get(Book, book_id)).copies


@router.post("/held")
async def wait_until_released(session: Session) -> int:
    """Wait until the test releases the handler."""
    session.add(Shelf.model_validate(SHELF))
    entered.set()
    await held.wait()
    return 1


@router.post("/given-up")
async def release_key(session: Session) -> int:
    """Roll back, which releases the key too, and wait until the test releases the handler."""
    await session.rollback()
    session.add(Shelf.model_validate(SHELF))
    entered.set()
    await held.wait()
    return 1


@router.post("/overtaken/{book_id}")
async def conflict_once(book_id: Id, session: Session) -> dict[str, int]:
    """Write a row that another transaction has changed; only in the first call."""
    book = found(await session.get(Book, book_id))
    attempts.append(book_id)
    if len(attempts) == 1:
        await session.exec(update(Book).values(version=Book.version + 2).execution_options(synchronize_session=False))
    book.copies += 1
    await session.flush()
    return {"attempt": len(attempts)}


@router.post("/nothing", status_code=204)
async def do_nothing(_: Session, first: int = 0, second: int = 0) -> None:
    """Return nothing."""


@router.post("/moved", status_code=201)
async def move(_: Session, to: str, response: fastapi.Response) -> None:
    """Respond with this location."""
    response.headers["Location"] = to


@router.post("/patience")
async def show_lock_timeout(session: Session) -> Any:
    setting = text("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")
    shown: Any = await session.exec(setting)  # type: ignore[call-overload]  # SQLModel's has no text
    return int(shown.scalar_one()) / 1000


@router.post("/secrets", status_code=204)
async def take_secret(_: Session, secret: Annotated[Password, Body(embed=True)]) -> None:
    """Take a password."""


@pytest.fixture
async def service(database: Database) -> Service:
    """Provide the bookshop with these operations."""
    return create_service(create_runtime(database), router)


@pytest.fixture
async def probed(service: Service) -> AsyncIterator[Client]:
    for started in (failures, attempts):
        started.clear()
    for happened in (held, entered):
        happened.clear()
    async with client_of(service) as client:
        yield client


async def post(client: Client, path: str, key: str = "key-1", **arguments: Any) -> Response:
    return await client.post(path, headers={"Idempotency-Key": key}, **arguments)


async def stored_keys(database: Database) -> list[Any]:
    """Return the rows of all keys."""
    async with database.connect() as connection:
        return list((await connection.execute(select(*StoredResponse.__table__.columns))).all())  # type: ignore[attr-defined]  # made by SQLModel


async def age(database: Database, by: timedelta) -> None:
    """Make all keys older."""
    async with database.writer.begin() as connection:
        await connection.execute(update(StoredResponse).values(created_at=now() - by))


async def number_of(client: Client, path: str) -> int:
    return len(await read(client, path))


def is_replayed(answer: Response) -> bool:
    return bool(answer.headers.get(REPLAYED) == "true")


def assert_same(again: Response, first: Response) -> None:
    """Check that a response is the replay of the first one."""
    assert not is_replayed(first)
    assert is_replayed(again), again.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert [again.headers.get(name) for name in FIRST] == [first.headers.get(name) for name in FIRST]


def assert_names_the_header(answer: Response) -> None:
    assert answer.status_code == 422
    assert [(error["in"], error["pointer"]) for error in answer.json()["errors"]] == [("header", "Idempotency-Key")]


async def test_the_same_request_gets_the_first_response_and_creates_one_row(client: Client) -> None:
    first, again = [await post(client, "/books/", json=BOOK) for _ in range(2)]
    assert first.status_code == 201
    assert first.headers["Location"] == f"/books/{first.json()['id']}"
    assert first.headers["ETag"] == '"1"'
    assert_same(again, first)
    assert await read(client, "/books/") == [first.json()]


async def test_without_a_key_every_request_is_executed(client: Client, database: Database) -> None:
    answers = [await client.post("/books/", json=BOOK) for _ in range(2)]
    assert [REPLAYED in answer.headers for answer in answers] == [False, False]
    assert await number_of(client, "/books/") == 2
    assert await stored_keys(database) == []


async def test_the_first_response_is_replayed_even_if_the_row_was_changed(client: Client) -> None:
    first = await post(client, "/books/", json=BOOK)
    await client.delete(first.headers["Location"])
    assert_same(await post(client, "/books/", json=BOOK), first)
    assert await number_of(client, "/books/") == 0


async def test_with_and_without_its_slash_a_path_is_the_same(client: Client) -> None:
    first = await post(client, "/books/", json=BOOK)
    assert_same(await post(client, "/books", json=BOOK), first)
    assert await number_of(client, "/books/") == 1


async def test_a_response_without_a_body_is_replayed_too(probed: Client) -> None:
    first, again = [await post(probed, "/probes/nothing") for _ in range(2)]
    assert (first.status_code, first.content) == (204, b"")
    assert_same(again, first)


async def test_equivalent_json_is_the_same_request(client: Client) -> None:
    first = await post(client, "/books/", json=BOOK | {"year": 28})
    other = b'\n{"author":  "Jane Austen", "year": 28, "title": "\\u0045mma"}'
    headers = {"Idempotency-Key": "key-1", "Content-Type": "application/merge-patch+json; charset=utf-8"}
    again = await client.post("/books/", content=other, headers=headers)
    assert_same(again, first)


async def test_the_same_parameters_in_another_order_are_the_same_request(probed: Client) -> None:
    first = await post(probed, "/probes/nothing?first=1&second=2")
    assert_same(await post(probed, "/probes/nothing?second=2&first=1"), first)
    assert_names_the_header(await post(probed, "/probes/nothing?first=2&second=1"))


@pytest.mark.parametrize("change", [{"year": 28}, {"title": "Persuasion"}, {"copies": True}])
async def test_another_body_with_the_same_key_is_refused(client: Client, change: Json) -> None:
    first = await post(client, "/books/", json=BOOK)
    assert_names_the_header(await post(client, "/books/", json=BOOK | change))
    assert await number_of(client, "/books/") == 1
    assert_same(await post(client, "/books/", json=BOOK), first)


async def test_another_query_with_the_same_key_is_refused(client: Client) -> None:
    await post(client, "/books/bulk", json=[BOOK])
    assert_names_the_header(await post(client, "/books/bulk?on_error=skip", json=[BOOK]))
    assert await number_of(client, "/books/") == 1


async def test_keys_and_paths_are_independent(client: Client) -> None:
    first = await post(client, "/books/", json=BOOK)
    other_key = await post(client, "/books/", "key-2", json=BOOK)
    other_path = await post(client, "/shelves/", json=SHELF)
    assert [answer.status_code for answer in (first, other_key, other_path)] == [201] * 3
    assert not any(map(is_replayed, (other_key, other_path)))
    assert await number_of(client, "/books/") == 2


async def test_a_conflict_is_replayed_even_after_it_was_resolved(client: Client) -> None:
    shelf = await new_shelf(client)
    first = await post(client, "/shelves/", json=SHELF)
    assert first.status_code == 409
    await client.delete(f"/shelves/{shelf['id']}")
    assert_same(await post(client, "/shelves/", json=SHELF), first)
    assert await read(client, "/shelves/") == []
    assert (await post(client, "/shelves/", "key-2", json=SHELF)).status_code == 201


async def test_a_404_is_replayed_even_if_the_row_exists_now(probed: Client) -> None:
    first = await post(probed, "/probes/books/1")
    assert first.status_code == 404
    assert first.headers["Content-Type"] == "application/problem+json"
    assert (await new_book(probed))["id"] == 1
    assert_same(await post(probed, "/probes/books/1"), first)
    assert (await post(probed, "/probes/books/1", "key-2")).status_code == 200


async def test_a_request_refused_because_of_the_data_stores_only_its_key(probed: Client, database: Database) -> None:
    assert (await post(probed, "/probes/books/1")).status_code == 404
    assert await read(probed, "/shelves/") == []
    assert [row.status for row in await stored_keys(database)] == [404]


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b'{"title": "Emma"}', "application/json", 422),
        (b'{"title": "Emma"', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_an_invalid_request_may_be_corrected_with_its_key(
    client: Client, database: Database, content: bytes, media_type: str, status: int
) -> None:
    headers = {"Idempotency-Key": "key-1", "Content-Type": media_type}
    assert (await client.post("/books/", content=content, headers=headers)).status_code == status
    assert await stored_keys(database) == []
    corrected = await post(client, "/books/", json=BOOK)
    assert (corrected.status_code, is_replayed(corrected)) == (201, False)


@pytest.mark.parametrize("query", ["?wrong=1", "?on_error=perhaps"])
async def test_an_invalid_query_may_be_corrected_with_its_key(client: Client, query: str) -> None:
    assert (await post(client, f"/books/bulk{query}", json=[BOOK])).status_code == 422
    assert (await post(client, "/books/bulk", json=[BOOK])).status_code == 201


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Problem(503, "Not now.", kind="unavailable"), 503),
        (Problem(504, "Too slow.", kind="timeout"), 504),
        (RuntimeError("an inner secret"), 500),
        (Problem(403, "Not you.", kind="forbidden"), 403),
        (Problem(422, "Not so.", kind="invalid", errors=[]), 422),
        (OutOfRange("Python int too large"), 422),
        (OverflowError("too large"), 500),
        (OSError("Connection refused"), 500),
        (Unreachable("Connection refused"), 200),  # retried at once, with success
    ],
)
async def test_a_failure_not_caused_by_the_data_is_not_stored(
    probed: Client, database: Database, failure: Exception, status: int
) -> None:
    failures.append(failure)
    answer = await post(probed, "/probes/failing")
    assert answer.status_code == status
    assert [row.status for row in await stored_keys(database)] == ([200] if status == 200 else [])
    again = await post(probed, "/probes/failing")
    assert (again.status_code, is_replayed(again)) == (200, status == 200)
    assert await number_of(probed, "/shelves/") == 1


@pytest.mark.parametrize("given", [[""], ["x" * 256], ["é"], ["a b"], [" a"], ["a\t"], ["one", "two"]])
async def test_a_key_is_1_to_255_visible_ascii_characters_given_once(
    client: Client, database: Database, given: list[str]
) -> None:
    headers = [(b"Idempotency-Key", key.encode()) for key in given]
    answer = await client.post("/books/", json=BOOK, headers=headers)
    assert_names_the_header(answer)
    assert await number_of(client, "/books/") == 0
    assert await stored_keys(database) == []


@pytest.mark.parametrize("key", ["!", "~" * 255, '"5c1ff5e8"', "a,b"])
async def test_a_key_may_have_any_visible_ascii_character(client: Client, key: str) -> None:
    first, again = [await post(client, "/books/", key, json=BOOK) for _ in range(2)]
    assert first.status_code == 201
    assert_same(again, first)


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ["key-1", "no key"])
async def test_keys_are_ignored_for_other_methods_than_post(
    client: Client, database: Database, method: str, key: str
) -> None:
    book = await new_book(client)
    body = BOOK | {"year": 30} if method != "GET" else None
    headers = {"Idempotency-Key": key}
    answers = [await client.request(method, f"/books/{book['id']}", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == ([204, 404] if method == "DELETE" else [200, 200])
    assert not any(map(is_replayed, answers))
    assert await stored_keys(database) == []


@pytest.mark.parametrize("on_error", ["abort", "skip"])
async def test_a_bulk_with_a_key_is_executed_once(client: Client, on_error: str) -> None:
    bodies = [SHELF, {"name": " "}, SHELF] if on_error == "skip" else [SHELF, SHELF | {"name": "Drama"}]
    first, again = [await post(client, f"/shelves/bulk?on_error={on_error}", json=bodies) for _ in range(2)]
    assert first.status_code == (207 if on_error == "skip" else 201)
    assert_same(again, first)
    assert await number_of(client, "/shelves/") == (1 if on_error == "skip" else 2)


async def test_a_conflict_of_a_bulk_is_replayed(client: Client) -> None:
    first, again = [await post(client, "/shelves/bulk", json=[SHELF, SHELF]) for _ in range(2)]
    assert first.status_code == 409
    assert first.json()["errors"][0]["pointer"] == "#/1/name"
    assert_same(again, first)
    assert await number_of(client, "/shelves/") == 0


async def test_of_fifty_concurrent_requests_with_one_key_one_is_executed(client: Client) -> None:
    answers = await asyncio.gather(*(post(client, "/books/", json=BOOK) for _ in range(RACERS)))
    in_flight = [answer for answer in answers if answer.status_code == 409]  # on a slow machine
    assert {answer.json()["type"] for answer in in_flight} <= {"urn:problem:in-flight"}
    done = [answer for answer in answers if answer not in in_flight]
    assert Counter(map(is_replayed, done)) == {False: 1, True: len(done) - 1}
    assert len({(answer.status_code, answer.content) for answer in done}) == 1
    assert await read(client, "/books/") == [done[0].json()]


async def test_concurrent_requests_with_different_keys_do_not_wait(client: Client) -> None:
    answers = await asyncio.gather(*(post(client, "/books/", f"key-{key}", json=BOOK) for key in range(RACERS)))
    assert {answer.status_code for answer in answers} == {201}
    assert await number_of(client, "/books/") == RACERS


@pytest.mark.usefixtures("short_wait")
async def test_a_second_request_during_the_first_is_a_409_in_flight(probed: Client) -> None:
    running = asyncio.create_task(post(probed, "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    assert_in_flight(await post(probed, "/probes/held"))
    held.set()
    first = await running
    assert first.status_code == 200
    assert_same(await post(probed, "/probes/held"), first)


async def test_a_second_request_gets_the_response_of_the_first_in_time(
    probed: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)
    running = asyncio.create_task(post(probed, "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    waiting = asyncio.create_task(post(probed, "/probes/held"))
    held.set()
    assert_same(await waiting, await running)


@pytest.mark.usefixtures("short_wait")
async def test_a_cancelled_first_request_releases_its_key(probed: Client, database: Database) -> None:
    running = asyncio.create_task(post(probed, "/probes/held"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    running.cancel()
    await asyncio.wait([running])
    held.set()
    again = await post(probed, "/probes/held")
    assert (again.status_code, is_replayed(again)) == (200, False)
    assert len(await stored_keys(database)) == 1


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for the first request with the same key."""
    monkeypatch.setattr(idempotency, "MAX_WAIT_SECONDS", 0.05)


def assert_in_flight(answer: Response) -> None:
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:problem:in-flight"
    assert answer.headers["Retry-After"] == "1"
    assert not is_replayed(answer)


async def only_claimed(client: Client, database: Database, path: str, **arguments: Any) -> Json:
    """Return the row of key-1 for this request, without its other effects."""
    await post(client, path, **arguments)
    (row,) = await stored_keys(database)
    await execute(database, "DELETE FROM idempotency_key", "DELETE FROM kit_book", "DELETE FROM kit_shelf")
    values: Json = row._asdict()
    return values


@asynccontextmanager
async def claimed_elsewhere(client: Client, database: Database) -> AsyncIterator[AsyncConnection]:
    """Claim key-1 for a book as another process would, without a COMMIT, during the block."""
    row = await only_claimed(client, database, "/books/", json=BOOK)
    async with database.writer.connect() as connection:
        await connection.execute(insert(StoredResponse).values(row))
        yield connection
        await connection.rollback()


@on_postgresql
@pytest.mark.usefixtures("short_wait")
async def test_a_second_request_during_one_of_another_process_is_a_409_in_flight(
    client: Client, database: Database
) -> None:
    patient = Database(database.url, Pool(lock_timeout=3600))
    async with claimed_elsewhere(client, database), client_of(create_service(create_runtime(patient))) as second:
        assert_in_flight(await post(second, "/books/", json=BOOK))
        assert (await post(second, "/books/", "key-2", json=BOOK)).status_code == 201
    again = await post(client, "/books/", json=BOOK)
    assert (again.status_code, is_replayed(again)) == (201, False)
    await patient.dispose()


@on_postgresql
async def test_another_process_may_claim_a_key_released_by_a_rollback(
    probed: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)
    held.set()
    row = await only_claimed(probed, database, "/probes/given-up")
    held.clear()
    entered.clear()
    giving = asyncio.create_task(post(probed, "/probes/given-up"))
    await asyncio.wait_for(entered.wait(), TIMEOUT_SECONDS)
    async with database.writer.connect() as connection:
        await connection.execute(insert(StoredResponse).values(row))
        held.set()
        await until(lambda: blocked(database))
        await connection.commit()
    assert_in_flight(await giving)
    assert await number_of(probed, "/shelves/") == 0


async def test_a_handler_that_released_its_key_does_not_overwrite_the_response_of_another_process(
    database: Database,
) -> None:
    here, there = (APIRouter(prefix="/given-up", tags=["probes"], route_class=allowing()) for _ in range(2))
    other_database = Database(database.url)
    other = create_service(create_runtime(other_database), there)

    @here.post("/")
    async def give_up(session: Session) -> int:
        session.add(Shelf.model_validate(SHELF))
        await session.rollback()
        with with_attributes(idempotency, locks={}):  # another process does not share the locks of this one
            async with client_of(other) as second:
                assert (await post(second, "/given-up/")).json() == 2
        return 1

    @there.post("/")
    async def overtake(_: Session) -> int:
        return 2

    async with client_of(create_service(create_runtime(database), here)) as client:
        assert_in_flight(await post(client, "/given-up/"))
        again = await post(client, "/given-up/")
    assert (again.json(), is_replayed(again)) == (2, True)
    await other_database.dispose()


@on_postgresql
async def test_the_response_of_another_process_is_replayed_in_time(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)
    async with claimed_elsewhere(client, database) as connection:
        waiting = asyncio.create_task(post(client, "/books/", json=BOOK))
        await until(lambda: blocked(database))
        await connection.commit()
        assert is_replayed(await waiting)
    assert await number_of(client, "/books/") == 0  # the other process has created none here


@on_postgresql
async def test_the_lock_timeout_of_the_handler_is_unchanged(probed: Client, database: Database) -> None:
    seconds = database.pool.lock_timeout
    assert (await post(probed, "/probes/patience")).json() == seconds
    assert (await probed.post("/probes/patience")).json() == seconds


async def test_another_failure_of_a_claim_is_raised(client: Client, database: Database) -> None:
    await execute(database, "ALTER TABLE idempotency_key RENAME TO elsewhere")
    answers = [await post(client, "/books/", json=BOOK), await client.post("/books/", json=BOOK)]
    await execute(database, "ALTER TABLE elsewhere RENAME TO idempotency_key")
    assert [answer.status_code for answer in answers] == [503, 201]


async def test_a_key_expires_after_a_day(client: Client, database: Database) -> None:
    first = await post(client, "/books/", json=BOOK)
    await age(database, DAY - timedelta(minutes=1))
    assert_same(await post(client, "/books/", json=BOOK), first)
    await age(database, DAY + timedelta(seconds=1))
    other = await post(client, "/books/", json=BOOK | {"year": 28})
    assert (other.status_code, is_replayed(other)) == (201, False)
    assert_same(await post(client, "/books/", json=BOOK | {"year": 28}), other)


async def store_expired(database: Database, number: int) -> None:
    long_ago = now() - 2 * DAY
    rows = [StoredResponse(id=bytes([index]), request=b"", created_at=long_ago).model_dump() for index in range(number)]
    async with database.writer.begin() as connection:
        await connection.execute(insert(StoredResponse), rows)


async def expired(database: Database) -> int:
    return sum(row.request == b"" for row in await stored_keys(database))


async def test_requests_remove_a_few_expired_keys_each(client: Client, database: Database) -> None:
    await store_expired(database, 11)
    left = []
    for key in range(3):
        await post(client, "/books/", f"key-{key}", json=BOOK)
        left.append(await expired(database))
    assert left == [6, 1, 0]
    assert len(await stored_keys(database)) == 3


async def test_a_replay_removes_nothing(client: Client, database: Database) -> None:
    await post(client, "/books/", json=BOOK)
    await store_expired(database, 1)
    assert is_replayed(await post(client, "/books/", json=BOOK))
    assert await expired(database) == 1


@on_postgresql
async def test_locked_expired_keys_are_skipped(client: Client, database: Database) -> None:
    await store_expired(database, 2)
    async with database.writer.connect() as other:
        await other.execute(delete(StoredResponse).where(col(StoredResponse.id) == bytes([0])))
        answer = await asyncio.wait_for(post(client, "/books/", json=BOOK), TIMEOUT_SECONDS)
        assert answer.status_code == 201
        assert await expired(database) == 1
        await other.rollback()


@pytest.mark.usefixtures("deferred_foreign_keys")
async def test_a_failing_commit_stores_no_key(client: Client, database: Database) -> None:
    body = BOOK | {"shelf_id": 1}
    assert (await post(client, "/books/", json=body)).status_code == 409
    assert await stored_keys(database) == []
    await new_shelf(client)
    assert (await post(client, "/books/", json=body)).status_code == 201


@on_postgresql
@pytest.mark.usefixtures("connection_lost_at_commit")
async def test_a_commit_of_unknown_outcome_may_be_repeated_with_its_key(client: Client, database: Database) -> None:
    answer = await post(client, "/books/", json=BOOK)
    assert (answer.status_code, answer.json()["outcome"]) == (503, "unknown")
    await execute(database, "DROP TRIGGER strike ON kit_book")
    assert (await post(client, "/books/", json=BOOK)).status_code == 201
    assert await number_of(client, "/books/") == 1


async def test_no_part_of_the_request_is_stored(probed: Client, database: Database) -> None:
    assert (await post(probed, "/probes/secrets", SECRET, json={"secret": SECRET})).status_code == 204
    (row,) = await stored_keys(database)
    assert row.status == 204
    assert SECRET not in repr(row)


async def test_the_digest_of_a_request_depends_on_the_secret(service: Service, probed: Client) -> None:
    statuses = []
    for secret in (b"one", b"two"):
        with with_attributes(service.runtime, secrets=[secret]):
            statuses.append((await post(probed, "/shelves/", json=SHELF)).status_code)
    assert statuses == [201, 422]


async def test_a_key_outlives_the_replacement_of_the_secret(service: Service, probed: Client) -> None:
    with with_attributes(service.runtime, secrets=[b"old"]):
        first = await post(probed, "/shelves/", json=SHELF)
    with with_attributes(service.runtime, secrets=[b"new", b"old"]):
        assert_same(await post(probed, "/shelves/", json=SHELF), first)


async def test_a_key_belongs_to_its_caller(natasha: Person, steve: Person) -> None:
    note = {"text": "Torn", "fine": "0.50"}
    answers = [await post(person.client, "/notes/", json=note) for person in (natasha, steve)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["owner_id"] for answer in answers] == [natasha.id, steve.id]
    assert_same(await post(natasha.client, "/notes/", json=note), answers[0])


@pytest.mark.parametrize("had_role", [True, False])
async def test_a_response_is_replayed_only_to_a_caller_who_still_has_the_roles(
    guarded: Service, natasha: Person, had_role: bool
) -> None:
    async def set_role(*, is_superuser: bool) -> None:
        await execute(guarded.runtime.database, "UPDATE kit_member SET is_superuser = :role", role=is_superuser)

    await set_role(is_superuser=had_role)
    note = {"text": "Torn", "fine": "0.50"}
    first = await post(natasha.client, "/notes/", json=note)
    await set_role(is_superuser=not had_role)
    again = await post(natasha.client, "/notes/", json=note)
    if had_role:
        assert (again.status_code, again.json()["type"]) == (409, "urn:problem:role-lost")
    else:
        assert_same(again, first)


async def test_a_retried_request_stores_one_response(probed: Client, database: Database) -> None:
    book = await new_book(probed)
    first, again = [await post(probed, f"/probes/overtaken/{book['id']}") for _ in range(2)]
    assert first.json() == {"attempt": 2}
    assert_same(again, first)
    assert len(await stored_keys(database)) == 1
    assert (await read(probed, f"/books/{book['id']}"))["copies"] == 1


PREFIXES = ("", "/api", "/", "/outer,/inner", "/api")


async def test_a_replayed_location_has_the_prefix_of_the_present_request(probed: Client) -> None:
    for number, first in enumerate(PREFIXES):
        locations = []
        for prefix in (first, *PREFIXES):
            headers = {"Idempotency-Key": f"key-{number}", "X-Forwarded-Prefix": prefix}
            answer = await probed.post("/shelves/", json=SHELF | {"name": f"Shelf {number}"}, headers=headers)
            locations.append(answer.headers["Location"])
            assert "X-Forwarded-Prefix" not in answer.headers
        path = f"/shelves/{answer.json()['id']}"
        prefixes = ["" if prefix == "/" else prefix.replace(",", "") for prefix in (first, *PREFIXES)]
        assert locations == [f"{prefix}{path}" for prefix in prefixes]


@pytest.mark.parametrize("location", ["https://example.com/api/1", "//example.com/1", "/elsewhere", "/apis/1"])
async def test_a_location_without_the_prefix_of_the_service_is_replayed_as_it_is(probed: Client, location: str) -> None:
    for prefix in ("/api", "/v2"):
        headers = {"Idempotency-Key": "key-1", "X-Forwarded-Prefix": prefix}
        answer = await probed.post("/probes/moved", params={"to": location}, headers=headers)
        assert answer.headers["Location"] == location


async def test_a_location_of_an_older_version_is_replayed_as_it_is(probed: Client, database: Database) -> None:
    first = await post(probed, "/shelves/", json=SHELF)
    headers = {"location": first.headers["Location"], "content-type": "application/json"}
    async with database.write() as session:
        await session.exec(update(StoredResponse).values(headers=headers))
        await session.commit()
    again = await probed.post("/shelves/", json=SHELF, headers={"Idempotency-Key": "key-1", "X-Forwarded-Prefix": "/a"})
    assert (again.headers[REPLAYED], again.headers["Location"]) == ("true", first.headers["Location"])
