"""Bulk creation: by few statements, all or none or each separately; failures point at the element."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import text

from kit import Database, Problem, create_many, insert_many
from kit.database.errors import Unreachable
from kit.database.sessions import WriteSession
from kit.models.entities import Entity
from kit.operations.bulk import InvalidElement, Outcome
from kit.operations.creation import MAX_FAILED_CHUNKS, Creation, Make
from tests.engines import Client
from tests.kit.bookshop import Shelf, ShelfCreate
from tests.kit.probes import BOOK, Json, execute, left_out, made, new_shelf, read, read_all
from tests.kit.service import FAST_PATH
from tests.statements import statements_of

THOUSAND = 1000
MISSING = 77
"""The id of a row that does not exist."""


def shelf(name: str, **fields: Any) -> Json:
    return {"name": name, "room": "Reading room"} | fields


def bodies_of(number: int) -> list[Json]:
    """Return the bodies of this number of shelves."""
    return [shelf(f"Shelf {index}") for index in range(number)]


def journal(number: int, **fields: Any) -> Json:
    return {"title": "Nature", "code": f"NAT-{number}"} | fields


async def bodies_of_shelves(_: Client) -> list[Json]:
    return bodies_of(THOUSAND)


async def bodies_of_books(client: Client) -> list[Json]:
    parent = await new_shelf(client)
    return [{"title": f"B{number}", "author": "A", "shelf_id": parent["id"]} for number in range(THOUSAND)]


async def bodies_of_notes(client: Client) -> list[Json]:
    members = [
        await made(client, "/members/", username=name, email=f"{name}@people.example") for name in ("abc", "xyz")
    ]
    return [
        {"text": "Torn", "fine": f"{number}.50", "owner_id": members[number % 2]["id"]} for number in range(THOUSAND)
    ]


async def bodies_of_journals(client: Client) -> list[Json]:
    parent = await new_shelf(client)
    return [journal(number, shelf_id=parent["id"]) for number in range(THOUSAND)]


THOUSANDS: dict[str, Callable[[Client], Awaitable[list[Json]]]] = {
    "/shelves/": bodies_of_shelves,
    "/books/": bodies_of_books,
    "/notes/": bodies_of_notes,
    "/journals/": bodies_of_journals,
}


def said(thing: Json, body: Json) -> Json:
    """Return the fields of a created resource that its body contained."""
    return {name: thing[name] for name in body}


def is_one_by_one(database: Database, path: str) -> bool:
    """Return whether SQLAlchemy inserts rows one by one: without shortcuts, if SQLite generates their ids."""
    return database.is_sqlite and path != "/journals/" and not FAST_PATH


@pytest.mark.untraced
@pytest.mark.parametrize("path", THOUSANDS)
async def test_a_thousand_rows_are_created_by_few_statements_and_returned_in_order(
    client: Client, database: Database, path: str
) -> None:
    bodies = await THOUSANDS[path](client)
    with statements_of(database.writer) as statements:
        answer = await client.post(f"{path}bulk", json=bodies)
    assert answer.status_code == 201, answer.text
    control = ("BEGIN", "SAVEPOINT", "RELEASE")
    if not is_one_by_one(database, path):
        assert len([statement for statement in statements if not statement.startswith(control)]) <= 5
    assert [said(thing, body) for thing, body in zip(answer.json(), bodies, strict=True)] == bodies
    ids = [thing["id"] for thing in answer.json()]
    assert ids == sorted(ids)
    first, last = answer.json()[0], answer.json()[-1]
    assert [await read(client, f"{path}{one['id']}") for one in (first, last)] == [first, last]


@pytest.mark.parametrize("number", [0, THOUSAND + 1])
@pytest.mark.parametrize("on_error", ["abort", "skip"])
async def test_empty_bulks_and_bulks_of_more_than_a_thousand_are_refused(
    client: Client, number: int, on_error: str
) -> None:
    answer = await client.post(f"/shelves/bulk?on_error={on_error}", json=bodies_of(number))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#"]
    assert await read(client, "/shelves/") == []


@pytest.mark.parametrize("body", [{}, shelf("Z-Force"), "shelves", 5, None])
async def test_a_body_that_is_not_an_array_is_refused(client: Client, body: Any) -> None:
    answer = await client.post("/shelves/bulk", json=body)
    assert answer.status_code == 422
    assert await read(client, "/shelves/") == []


async def test_a_taken_value_rolls_back_the_bulk_and_is_pointed_at(client: Client) -> None:
    await new_shelf(client, **shelf("Shelf 17"))
    answer = await client.post("/shelves/bulk", json=bodies_of(30))
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/17/name"]
    assert "name" in answer.json()["detail"]
    assert len(await read(client, "/shelves/")) == 1


async def test_the_second_of_two_equal_names_in_a_bulk_is_pointed_at(client: Client) -> None:
    answer = await client.post("/shelves/bulk", json=[*bodies_of(3), shelf("Shelf 1"), shelf("Shelf 9")])
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/3/name"]
    assert await read(client, "/shelves/") == []


async def test_a_reference_to_a_missing_row_is_pointed_at(client: Client) -> None:
    answer = await client.post("/books/bulk", json=[BOOK, BOOK | {"shelf_id": MISSING}])
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/1/shelf_id"]
    assert await read(client, "/books/") == []


async def test_all_errors_are_listed_by_element_and_field(client: Client) -> None:
    bodies = [shelf("A"), shelf(" "), shelf("B", rank=1), shelf("C", room=None), {}, 5, shelf("D", id=7)]
    answer = await client.post("/shelves/bulk", json=bodies)
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert sorted(pointers) == ["#/1/name", "#/2/rank", "#/3/room", "#/4/name", "#/4/room", "#/5"]
    assert await read(client, "/shelves/") == []


async def test_the_list_of_errors_is_bounded(client: Client) -> None:
    answer = await client.post("/shelves/bulk", json=[{}] * THOUSAND)
    assert answer.status_code == 422
    assert 0 < len(answer.json()["errors"]) <= 100


async def test_skipping_creates_the_valid_elements_and_reports_the_others(client: Client) -> None:
    await new_shelf(client, **shelf("Taken"))
    bodies = [shelf("A"), shelf("Taken"), shelf("B"), shelf("A"), {"name": "C"}, shelf("D"), 5]
    answer = await client.post("/shelves/bulk?on_error=skip", json=bodies)
    assert answer.status_code == 207
    created, failed = answer.json()["created"], answer.json()["failed"]
    assert set(answer.json()) == {"created", "failed"}
    assert [one["name"] for one in created] == ["A", "B", "D"]
    assert [(one["index"], one["problem"]["status"]) for one in failed] == [(1, 409), (3, 409), (4, 422), (6, 422)]
    assert [one["name"] for one in await read(client, "/shelves/", sort="id")] == ["Taken", "A", "B", "D"]
    assert (await read(client, "/shelves/", sort="id"))[1:] == created


async def test_a_skipped_element_has_a_complete_problem(client: Client) -> None:
    bodies = [shelf("A"), shelf("A"), {"name": " ", "rank": 1}]
    answer = await client.post("/shelves/bulk?on_error=skip", json=bodies)
    taken, invalid = [one["problem"] for one in answer.json()["failed"]]
    members = {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    assert set(taken) == set(invalid) == members
    assert (taken["type"], taken["title"], taken["detail"].split()[0]) == ("urn:problem:taken", "Conflict", "name")
    assert taken["request_id"] == invalid["request_id"] == answer.headers["X-Request-ID"]
    assert [error["pointer"] for error in taken["errors"]] == ["#/1/name"]
    pointers = {error["pointer"] for error in invalid["errors"]}
    assert pointers == {"#/2/name", "#/2/room", "#/2/rank"}


async def test_skipping_creates_nothing_if_all_elements_fail(client: Client) -> None:
    answer = await client.post("/shelves/bulk?on_error=skip", json=[{}, {}])
    assert answer.status_code == 207
    assert answer.json()["created"] == []
    assert [one["index"] for one in answer.json()["failed"]] == [0, 1]


async def test_skipping_creates_all_elements_in_order_if_none_fails(client: Client) -> None:
    answer = await client.post("/shelves/bulk?on_error=skip", json=bodies_of(100))
    assert [one["name"] for one in answer.json()["created"]] == [one["name"] for one in bodies_of(100)]
    assert answer.json()["failed"] == []


async def test_rows_stored_while_others_are_skipped_have_ids_in_the_order_of_the_request(client: Client) -> None:
    answer = await client.post("/shelves/bulk?on_error=skip", json=[shelf(name) for name in ("C", "A", "C", "B")])
    assert [one["name"] for one in answer.json()["created"]] == ["C", "A", "B"]
    assert [one["name"] for one in (await client.get("/shelves/")).json()] == ["C", "A", "B"]


@pytest.mark.parametrize("on_error", ["", "Skip", "other", "true"])
async def test_an_unknown_value_of_on_error_is_refused(client: Client, on_error: str) -> None:
    answer = await client.post("/shelves/bulk", params={"on_error": on_error}, json=bodies_of(1))
    assert answer.status_code == 422
    assert [(error["in"], error["pointer"]) for error in answer.json()["errors"]] == [("query", "on_error")]
    assert await read(client, "/shelves/") == []


async def test_abort_is_a_value_of_on_error(client: Client) -> None:
    answer = await client.post("/shelves/bulk?on_error=abort", json=bodies_of(2))
    assert answer.status_code == 201


@pytest.mark.each_engine
async def test_with_uuids_failures_of_the_database_are_skipped_too(client: Client) -> None:
    await made(client, "/journals/", **journal(1))
    bodies = [journal(2), journal(1), journal(3, shelf_id=MISSING), journal(4)]
    outcome = (await client.post("/journals/bulk?on_error=skip", json=bodies)).json()
    assert [one["code"] for one in outcome["created"]] == ["NAT-2", "NAT-4"]
    assert [one["problem"]["type"] for one in outcome["failed"]] == [
        "urn:problem:taken",
        "urn:problem:missing-reference",
    ]
    assert len(await read(client, "/journals/")) == 3


async def test_concurrent_bulks_with_common_names_are_never_stored_in_part(client: Client) -> None:
    batches = [[shelf(f"{name} {index}") for name in "ABC"] for index in range(5)]
    common = [[*batch, shelf("Common")] for batch in batches]
    answers = await asyncio.gather(*(client.post("/shelves/bulk", json=batch) for batch in common))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert len(await read(client, "/shelves/")) == 4
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert [problem["errors"][0]["pointer"] for problem in refused] == ["#/3/name"] * 4


def failing_once(failure: Exception) -> Make[Any]:
    """Return a function that creates shelves, but raises an exception in its first call."""
    failures = [failure]

    async def make(session: WriteSession, elements: Sequence[Any]) -> Sequence[Entity]:
        if failures:
            raise failures.pop()
        return await insert_many(session, Shelf, elements)

    return make


async def test_a_conflict_that_has_vanished_on_retry_is_no_failure(database: Database) -> None:
    new = [ShelfCreate(name=name, room="Here") for name in ("A", "B")]
    async with database.write() as session:
        rows = await create_many(session, new, "abort", failing_once(Problem(409, "", kind="taken")))
        assert isinstance(rows, list)
        assert [row.name for row in rows] == ["A", "B"]


async def test_a_failure_that_concerns_all_elements_is_raised(database: Database) -> None:
    async with database.write() as session:
        with pytest.raises(Unreachable, match="gone"):
            await create_many(session, [ShelfCreate(name="A", room="Here")], "skip", failing_once(Unreachable("gone")))


async def test_the_errors_of_all_elements_that_are_left_out_are_bounded(client: Client) -> None:
    wrong = {"name": "", "room": 1, "a": 1, "b": 1, "c": 1}
    for number, shown in ((2, 5), (500, 2), (THOUSAND, 1)):
        answer = await client.post("/shelves/bulk?on_error=skip", json=[wrong] * number)
        problems = [part["problem"] for part in answer.json()["failed"]]
        assert [len(problem["errors"]) for problem in problems] == [shown] * number
        assert [problem.get("more_errors", 0) for problem in problems] == [5 - shown] * number


async def test_a_batch_with_many_errors_counts_those_that_it_does_not_list(client: Client) -> None:
    problem = (await client.post("/shelves/bulk", json=[{}] * THOUSAND)).json()
    assert (len(problem["errors"]), problem["more_errors"]) == (100, 1900)


@pytest.mark.untraced
@pytest.mark.parametrize("fault", ["missing", "taken", "equal"])
async def test_a_thousand_elements_with_the_same_fault_need_few_statements(
    client: Client, database: Database, fault: str
) -> None:
    await made(client, "/journals/", **journal(1))
    wrong = {
        "missing": [journal(number, shelf_id=MISSING + number) for number in range(2, THOUSAND)],
        "taken": [journal(1)] * (THOUSAND - 2),
        "equal": [journal(2)] * (THOUSAND - 2),
    }
    bodies = [*wrong[fault], journal(5000), journal(5001)]
    with statements_of(database.writer) as statements:
        outcome = (await client.post("/journals/bulk?on_error=skip", json=bodies)).json()
    assert [one["code"] for one in outcome["created"]][-2:] == ["NAT-5000", "NAT-5001"]
    assert len(outcome["failed"]) + len(outcome["created"]) == THOUSAND
    assert {one["problem"]["errors"][0]["pointer"] for one in outcome["failed"]} == {
        f"#/{one['index']}/{'shelf_id' if fault == 'missing' else 'code'}" for one in outcome["failed"]
    }
    assert len(statements) < 40


async def test_faults_that_no_select_shows_are_found_in_chunks(client: Client, database: Database) -> None:
    async with left_out(database, "kit_shelf", "NEW.name = 'Shelf 17' OR NEW.name = 'Shelf 800'"):
        with statements_of(database.writer) as statements:
            answer = await client.post("/shelves/bulk?on_error=skip", json=bodies_of(THOUSAND))
    outcome = answer.json()
    assert [(one["index"], one["problem"]["type"]) for one in outcome["failed"]] == [
        (17, "urn:problem:not-stored"),
        (800, "urn:problem:not-stored"),
    ]
    named = {one["id"]: one["name"] for one in await read_all(client, "/shelves/")}
    assert named == {one["id"]: one["name"] for one in outcome["created"]}
    assert [one["name"] for one in outcome["created"]] == [f"Shelf {n}" for n in range(THOUSAND) if n not in (17, 800)]
    if not is_one_by_one(database, "/shelves/"):
        assert len(statements) < 300


@pytest.mark.each_engine
async def test_rows_stored_in_chunks_have_ids_in_the_order_of_the_request(client: Client, database: Database) -> None:
    async with left_out(database, "kit_shelf", "NEW.name = 'D'"):
        answer = await client.post("/shelves/bulk?on_error=skip", json=[shelf(name) for name in "HGFEDCBA"])
    assert [one["index"] for one in answer.json()["failed"]] == [4]
    assert [one["name"] for one in await read_all(client, "/shelves/")] == list("HGFECBA")


async def test_a_row_that_a_trigger_leaves_out_is_pointed_at(client: Client, database: Database) -> None:
    async with left_out(database, "kit_shelf", "NEW.name = 'Shelf 17'"):
        answer = await client.post("/shelves/bulk", json=bodies_of(40))
        alone = await client.post("/shelves/", json=bodies_of(18)[17])
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:problem:not-stored")
    assert alone.status_code == 409
    assert await read(client, "/shelves/") == []


async def test_rows_with_uuids_that_a_trigger_leaves_out_are_not_acknowledged(
    client: Client, database: Database
) -> None:
    async with left_out(database, "kit_journal", "NEW.code = 'NAT-2'"):
        answer = await client.post("/journals/bulk", json=[journal(number) for number in range(4)])
        alone = await client.post("/journals/", json=journal(2))
    assert (answer.status_code, alone.status_code) == (409, 409)
    assert await read(client, "/journals/") == []


async def test_the_first_of_several_elements_that_fail_is_pointed_at_after_few_statements(
    client: Client, database: Database
) -> None:
    await new_shelf(client, **shelf("Shelf 517"))
    await new_shelf(client, **shelf("Shelf 818"))
    with statements_of(database.writer) as statements:
        answer = await client.post("/shelves/bulk", json=bodies_of(THOUSAND))
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/517/name"]
    if not is_one_by_one(database, "/shelves/"):
        assert len(statements) < 80


async def test_equal_values_of_elements_that_fail_otherwise_are_tried(client: Client) -> None:
    bodies = [journal(1, shelf_id=MISSING), journal(1), journal(1, title="Again"), journal(2)]
    outcome = (await client.post("/journals/bulk?on_error=skip", json=bodies)).json()
    assert [one["title"] for one in outcome["created"]] == ["Nature", "Nature"]
    kinds = [(one["index"], one["problem"]["type"]) for one in outcome["failed"]]
    assert kinds == [(0, "urn:problem:missing-reference"), (2, "urn:problem:taken")]


@pytest.mark.untraced
@pytest.mark.parametrize("mode", ["skip", "abort"])
async def test_concurrent_bulks_with_equal_keys_do_not_deadlock(client: Client, mode: str) -> None:
    batches = [bodies_of(100)[:: 1 if number % 2 else -1] for number in range(6)]
    answers = await asyncio.gather(*(client.post(f"/shelves/bulk?on_error={mode}", json=batch) for batch in batches))
    created = [len(answer.json()["created"]) if mode == "skip" else 100 for answer in answers if answer.is_success]
    assert sum(created) == 100
    assert {answer.status_code for answer in answers} <= ({207} if mode == "skip" else {201, 409})
    assert len(await read_all(client, "/shelves/")) == 100


def failing(numbers: Sequence[int]) -> Make[Any]:
    """Return a function that creates shelves, but reports a conflict in these of its calls."""
    calls = iter(range(100))

    async def make(session: WriteSession, elements: Sequence[Any]) -> Sequence[Entity]:
        if next(calls) in numbers:
            raise Problem(409, "", kind="conflict")
        return await insert_many(session, Shelf, elements)

    return make


def names_of(rows: Any) -> list[str]:
    return [row.name for row in rows]


async def test_elements_whose_conflicts_change_while_they_are_tried_are_created(database: Database) -> None:
    new = [ShelfCreate(name=name, room="Here") for name in "ABCD"]
    async with database.write() as session:
        rows = await create_many(session, new, "abort", failing([0, 3]))  # all of them; those that passed before
        assert names_of(rows) == list("ABCD")
        await session.rollback()
    async with database.write() as session:
        outcome = await create_many(session, new, "skip", failing([0, 1, 2]))
        assert isinstance(outcome, Outcome)
        assert [part["index"] for part in outcome.failed] == [0]
        assert names_of(outcome.created) == list("BCD")


async def test_an_element_whose_fault_has_vanished_is_created(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Creation.attempt
    freed: list[object] = []

    async def attempt_after_deletion(self: Any, places: Sequence[int], **options: Any) -> Problem | None:
        if len(places) == 1 and not freed:
            freed.append(await self.session.execute_trusted(text("DELETE FROM kit_shelf WHERE name = 'Shelf 1'")))
        return await attempt(self, places, **options)

    monkeypatch.setattr(Creation, "attempt", attempt_after_deletion)
    await new_shelf(client, **shelf("Shelf 1"))
    answer = await client.post("/shelves/bulk?on_error=skip", json=bodies_of(3))
    assert [one["name"] for one in answer.json()["created"]] == ["Shelf 0", "Shelf 1", "Shelf 2"]


@pytest.mark.each_engine
async def test_rows_of_a_table_without_a_sequence_are_stored_in_key_order_too(database: Database) -> None:
    if database.is_sqlite:
        return
    await execute(database, "ALTER SEQUENCE kit_shelf_id_seq OWNED BY NONE")
    try:
        async with database.write() as session:
            rows = [Shelf(name=name, room="Here") for name in "CAB"]
            await session.insert_all(rows)
            assert [row.name for row in sorted(rows, key=lambda row: row.id)] == list("ABC")
    finally:
        await execute(database, "ALTER SEQUENCE kit_shelf_id_seq OWNED BY kit_shelf.id")


async def test_elements_that_a_function_refuses_are_found_by_a_bounded_number_of_calls(database: Database) -> None:
    calls: list[int] = []

    async def make(_: WriteSession, elements: Sequence[int]) -> Sequence[Entity]:
        calls.append(len(elements))
        if any(element % 2 for element in elements):
            raise Problem(409, "", kind="conflict")
        return [Shelf(name=str(element), room="Here") for element in elements]

    async with database.write() as session:
        outcome = await create_many(session, range(THOUSAND), "skip", make)
        await session.rollback()
    assert isinstance(outcome, Outcome)
    assert [part["index"] for part in outcome.failed] == list(range(1, THOUSAND, 2))
    assert names_of(outcome.created) == [str(number) for number in range(0, THOUSAND, 2)]
    assert len(calls) <= THOUSAND + MAX_FAILED_CHUNKS


def test_an_invalid_element_has_the_errors_of_pydantic_without_its_values() -> None:
    with pytest.raises(ValidationError) as failed:
        TypeAdapter(int).validate_python("secret")
    (found,) = InvalidElement(failed.value).errors
    assert found["type"] == "int_parsing"
    assert "secret" not in str(found)
