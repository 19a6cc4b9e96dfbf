"""Relations: a conflict names the fields that cause it, on both databases."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from kit import Database
from kit.database.references import _violated
from tests.engines import Client
from tests.kit.accounts import Genre, Tag, fill, with_lines
from tests.kit.probes import new_book


@pytest.fixture
async def genres(database: Database) -> None:
    """Store genres 1 to 3; 1 is the parent of 2."""
    await fill(database, Genre, [{"id": at, "name": f"{at}", "parent_id": 1 if at == 2 else None} for at in (1, 2, 3)])


async def refused(accounts_client: Client, path: str, body: Any, method: str = "POST") -> tuple[str, list[str]]:
    answer = await accounts_client.request(method, path, json=body)
    assert answer.status_code == 409, answer.text
    return answer.json()["detail"], [error["pointer"] for error in answer.json().get("errors", ())]


@pytest.mark.untraced
async def test_a_unique_constraint_names_all_of_its_fields(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 2)
    for method, path, body in (
        ("POST", "/lines/", {"invoice_id": 1, "text": "0", "amount": 1}),
        ("PATCH", "/lines/2", {"text": "0"}),
    ):
        found = await refused(accounts_client, path, body, method)
        assert found == (
            "invoice_id and text are taken: another row has these values.",
            ["#/invoice_id", "#/text"],
        )


async def test_a_unique_constraint_names_the_element_too(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 1)
    new = [{"invoice_id": 1, "text": text, "amount": 1} for text in ("a", "b", "0")]
    assert (await refused(accounts_client, "/lines/bulk", new))[1] == ["#/2/invoice_id", "#/2/text"]


@pytest.mark.parametrize(("source", "target", "field"), [(1, 9, "target_id"), (9, 1, "source_id"), (9, 9, "source_id")])
async def test_of_several_foreign_keys_the_one_that_failed_is_named(
    accounts_client: Client, genres: None, source: int, target: int, field: str
) -> None:
    body = {"source_id": source, "target_id": target}
    found = await refused(accounts_client, "/moves/", body)
    assert found == (f"{field} refers to something that does not exist.", [f"#/{field}"])
    bulk = await refused(accounts_client, "/moves/bulk", [{"source_id": 1, "target_id": 2}, body])
    assert bulk == (f"{field} refers to something that does not exist.", [f"#/1/{field}"])


async def test_a_foreign_key_that_fails_by_a_change_is_named(accounts_client: Client, genres: None) -> None:
    assert (await refused(accounts_client, "/genres/3", {"parent_id": 9}, "PATCH"))[1] == ["#/parent_id"]


async def test_what_keeps_a_row_is_named(accounts_client: Client, genres: None) -> None:
    assert (await refused(accounts_client, "/genres/1", None, "DELETE"))[0] == "Other rows refer to it by parent_id."
    await accounts_client.post("/moves/", json={"source_id": 1, "target_id": 3})
    assert (await refused(accounts_client, "/genres/3", None, "DELETE"))[0] == "Other rows refer to it by target_id."


async def test_a_tagging_exists_once_and_refers_to_what_exists(accounts_client: Client, database: Database) -> None:
    await new_book(accounts_client)
    await fill(database, Tag, [{"id": 1, "name": "new"}])
    tagging = {"book_id": 1, "tag_id": 1}
    assert (await accounts_client.post("/taggings/", json=tagging)).status_code == 201
    assert (await refused(accounts_client, "/taggings/", tagging))[1] == ["#/book_id", "#/tag_id"]
    assert (await refused(accounts_client, "/taggings/", {"book_id": 1, "tag_id": 9}))[1] == ["#/tag_id"]
    assert (await refused(accounts_client, "/taggings/", {"book_id": 9, "tag_id": 1}))[1] == ["#/book_id"]
    assert (await accounts_client.delete("/tags/1")).status_code == 204
    assert (await accounts_client.get("/tags/?include=books")).json() == []


async def test_of_writers_that_race_one_makes_the_link(accounts_client: Client, database: Database) -> None:
    await new_book(accounts_client)
    await fill(database, Tag, [{"id": 1, "name": "new"}])
    answers = await asyncio.gather(
        *(accounts_client.post("/taggings/", json={"book_id": 1, "tag_id": 1}) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_a_link_that_races_with_the_end_of_its_tag_is_stored_or_refused(
    accounts_client: Client, database: Database
) -> None:
    await new_book(accounts_client)
    await fill(database, Tag, [{"id": 1, "name": "new"}])
    link, end = accounts_client.post("/taggings/", json={"book_id": 1, "tag_id": 1}), accounts_client.delete("/tags/1")
    linked, ended = await asyncio.gather(link, end)
    assert (linked.status_code in (201, 409), ended.status_code) == (True, 204)
    assert (await accounts_client.get("/tags/")).json() == []


def test_what_breaks_no_foreign_key_names_none() -> None:
    cursor = Mock()
    cursor.fetchall.return_value = []
    assert list(_violated(cursor, "INSERT INTO nowhere VALUES (?)", (1,))) == []
    assert list(_violated(cursor, "INSERT INTO kit_genre SELECT 1", ())) == []
    assert list(_violated(cursor, 'DELETE FROM "kit_genre" WHERE "kit_genre".id = ?', (1,))) == []
