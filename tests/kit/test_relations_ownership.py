"""Relations: lines belong to the owner of their invoice, and no other member can read or change them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit import Service
from tests.kit.probes import read
from tests.kit.service import Person, clear, join

pytestmark = pytest.mark.exhaustive

LINE = {"text": "Tea", "amount": 3}


@pytest.fixture
async def guarded_app(guarded_app_with_accounts: Service) -> Service:
    """Provide the bookshop with its accounts, without rows, where everybody needs a token."""
    await clear(guarded_app_with_accounts.runtime.database)
    return guarded_app_with_accounts


@pytest.fixture
async def ann(guarded_app: Service) -> AsyncIterator[Person]:
    """Provide a member with an invoice of one line; both have the id 1."""
    person = await join(guarded_app, username="ann")
    async with person.client:
        answer = await person.client.post("/invoices/", json={"number": "1", "lines": [LINE]})
        assert answer.status_code == 201, answer.text
        yield person


@pytest.fixture
async def bob(guarded_app: Service, ann: Person) -> AsyncIterator[Person]:
    """Provide another member with an invoice of one line; both have the id 2."""
    person = await join(guarded_app, username="bob")
    async with person.client:
        await person.client.post("/invoices/", json={"number": "1", "lines": [LINE]})
        yield person


async def shown(ann: Person) -> Any:
    return await read(ann.client, "/invoices/1", include="lines")


@pytest.mark.parametrize("path", ["/invoices/1", "/invoices/1?include=lines", "/lines/1", "/lines/1?include=invoice"])
async def test_bob_does_not_see_what_is_anns(bob: Person, path: str) -> None:
    assert (await bob.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("path", "ids"), [("/invoices/?include=lines", [2]), ("/lines/?include=invoice", [2]), ("/lines/?invoice_id=1", [])]
)
async def test_bobs_lists_show_nothing_of_anns(bob: Person, path: str, ids: list[int]) -> None:
    found = (await bob.client.get(path)).json()
    assert [row["id"] for row in found] == ids
    assert [line["id"] for row in found for line in row.get("lines", [])] == (ids if "include=lines" in path else [])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/lines/", {**LINE, "text": "Milk", "invoice_id": 1}),
        ("POST", "/lines/bulk", [{**LINE, "text": "Milk", "invoice_id": 2}, {**LINE, "invoice_id": 1, "text": "Rum"}]),
        ("POST", "/invoices/", {"number": "2", "owner_id": 1, "lines": [LINE]}),
        ("POST", "/invoices/bulk", [{"number": "2"}, {"number": "3", "owner_id": 1, "lines": [LINE]}]),
        ("PATCH", "/lines/1", {"amount": 9}),
        ("PATCH", "/lines/1", {"invoice_id": 2}),
        ("PATCH", "/lines/2", {"invoice_id": 1}),
        ("PATCH", "/invoices/1", {"number": "9"}),
        ("PATCH", "/invoices/2", {"owner_id": 1}),
        ("PUT", "/invoices/1", {"number": "9"}),
        ("DELETE", "/lines/1", None),
        ("DELETE", "/invoices/1", None),
    ],
)
async def test_bob_changes_nothing_of_anns(ann: Person, bob: Person, method: str, path: str, body: Any) -> None:
    before = await shown(ann)
    answer = await bob.client.request(method, path, json=body)
    assert answer.status_code in (403, 404), answer.text
    assert await shown(ann) == before
    assert len(await read(bob.client, "/lines/")) == len(await read(bob.client, "/invoices/")) == 1


async def test_bob_skips_what_is_anns(ann: Person, bob: Person) -> None:
    new = [{**LINE, "text": "Milk", "invoice_id": 1}, {**LINE, "text": "Milk", "invoice_id": 2}]
    answer = (await bob.client.post("/lines/bulk?on_error=skip", json=new)).json()
    assert [part["invoice_id"] for part in answer["created"]] == [2]
    assert [(part["index"], part["problem"]["status"]) for part in answer["failed"]] == [(0, 403)]


async def test_ann_does_with_her_lines_what_she_likes(ann: Person) -> None:
    other = (await ann.client.post("/invoices/", json={"number": "2"})).json()
    moved = await ann.client.patch("/lines/1", json={"invoice_id": other["id"]}, headers={"If-Match": '"1"'})
    assert (moved.status_code, moved.json()["version"]) == (200, 2)
    assert (await ann.client.post("/lines/", json={**LINE, "invoice_id": 1})).status_code == 201
    assert (await ann.client.delete("/invoices/1")).status_code == 204
    assert [line["invoice_id"] for line in await read(ann.client, "/lines/")] == [other["id"]]


async def test_an_idempotency_key_works_where_only_owners_read(ann: Person) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = [
        await ann.client.post("/lines/", json={**LINE, "text": "Rum", "invoice_id": 1}, headers=headers)
        for _ in range(2)
    ]
    assert (first.status_code, second.headers.get("idempotency-replayed")) == (201, "true")
