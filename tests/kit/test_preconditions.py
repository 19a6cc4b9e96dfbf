"""Preconditions of changes: versions that must match, that must not match, and rows that must not exist."""

from typing import Any

import pytest

from tests.engines import Client
from tests.kit.probes import new_shelf

SHELF = {"name": "Maps", "room": "Cellar"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("If-Match", '"1"')], 200),
        ([("If-Match", '"7"'), ("If-Match", 'W/"1"')], 200),
        ([("If-Match", "*"), ("If-None-Match", '"7"')], 200),
        ([("If-Match", '"2"')], 412),
        ([("If-None-Match", "*")], 412),
        ([("If-None-Match", '"7"'), ("If-None-Match", 'W/"1"')], 412),
        ([("If-Match", "1")], 422),
        ([("If-None-Match", '"1"'), ("If-None-Match", "*")], 422),
        ([("If-None-Match", "")], 422),
        ([("If-Match", b'"\xe9"')], 422),
    ],
)
async def test_a_change_has_preconditions(client: Client, headers: Any, status: int) -> None:
    shelf = await new_shelf(client)
    answer = await client.patch(f"/shelves/{shelf['id']}", json={"room": "Attic"}, headers=headers)
    assert answer.status_code == status, answer.text


async def test_a_create_of_what_exists_is_a_412_if_the_client_says_so(client: Client) -> None:
    absent, key = {"If-None-Match": "*"}, {"Idempotency-Key": "one"}
    assert (await client.post("/shelves/", json=SHELF, headers=absent)).status_code == 201
    taken = await client.post("/shelves/", json=SHELF, headers={"If-None-Match": '"1"'} | key)
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:problem:taken")
    for headers in (absent, absent | key):
        answer = await client.post("/shelves/", json=SHELF, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (412, "urn:problem:exists")


async def test_other_failures_of_a_create_are_as_without_the_precondition(client: Client) -> None:
    absent = {"If-None-Match": "*"}
    missing = await client.post("/books/", json={"title": "Emma", "author": "A", "shelf_id": 4711}, headers=absent)
    assert (missing.status_code, missing.json()["type"]) == (409, "urn:problem:missing-reference")
    assert (await client.post("/shelves/", json={}, headers=absent)).status_code == 422
    assert (await client.post("/shelves/", json=SHELF, headers={"If-None-Match": "x"})).status_code == 422
