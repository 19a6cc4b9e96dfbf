"""Concurrent writes of a parent and its children: no orphan remains, no change is lost, and no request gets a 500."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import httpx
import pytest
from sqlmodel import func, select

from kit import Database
from tests.engines import Client
from tests.kit.accounts import Genre, Invoice, Line, fill, with_lines
from tests.kit.probes import read

WRITERS = 8


async def statuses(*requests: Awaitable[httpx.Response]) -> Counter[int]:
    """Return the status codes of requests that run at the same time."""
    return Counter(answer.status_code for answer in await asyncio.gather(*requests))


async def orphans(database: Database) -> int:
    """Return the number of lines without an invoice."""
    async with database.read() as session:
        statement = select(func.count()).select_from(Line).where(Line.invoice_id.not_in(select(Invoice.id)))  # type: ignore[attr-defined]
        return (await session.exec(statement)).one()


async def test_of_writers_that_expect_one_version_of_a_parent_one_wins(
    accounts_client: Client, database: Database
) -> None:
    await with_lines(database, 1)
    changes = [{"number": f"n{at}"} for at in range(WRITERS)]
    expected = {"If-Match": '"1"'}
    assert await statuses(*(accounts_client.patch("/invoices/1", json=body, headers=expected) for body in changes)) == {
        200: 1,
        412: WRITERS - 1,
    }
    assert (await read(accounts_client, "/invoices/1"))["version"] == 2


async def test_writers_of_a_parent_and_its_line_lose_no_change(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 1)
    ends = [f"n{at}" for at in range(WRITERS)]
    parents = [accounts_client.patch("/invoices/1", json={"number": end}) for end in ends]
    lines = [accounts_client.patch("/lines/1", json={"text": end}) for end in ends]
    assert await statuses(*parents, *lines) == {200: 2 * WRITERS}
    for path in ("/invoices/1", "/lines/1"):
        assert (await read(accounts_client, path))["version"] == 1 + WRITERS


@pytest.mark.untraced
@pytest.mark.parametrize("turn", range(3))
async def test_lines_that_are_added_while_their_invoice_is_deleted_are_no_orphans(
    accounts_client: Client, database: Database, turn: int
) -> None:
    await with_lines(database, 3, 1)
    writes: list[Any] = [
        accounts_client.post("/lines/", json={"invoice_id": 1, "text": f"a{at}", "amount": 1}) for at in range(4)
    ]
    many = [{"invoice_id": 1, "text": f"b{at}", "amount": 1} for at in range(3)]
    writes += [
        accounts_client.post("/lines/bulk", json=many),
        accounts_client.patch("/lines/4", json={"invoice_id": 1, "text": "moved"}),
    ]
    writes += [
        accounts_client.patch("/lines/1", json={"amount": 2}),
        accounts_client.patch("/invoices/1", json={"number": "late"}),
    ]
    writes.insert(2 * turn, accounts_client.delete("/invoices/1"))
    found = await statuses(*writes)
    assert found.keys() <= {200, 201, 204, 404, 409}
    assert found[204] == 1
    assert await orphans(database) == 0
    assert (await accounts_client.get("/lines/", params={"invoice_id": 1})).json() == []


async def test_a_line_that_is_moved_twice_at_once_is_in_one_invoice(
    accounts_client: Client, database: Database
) -> None:
    await with_lines(database, 1, 0, 0)
    targets = [2, 3] * 4
    assert await statuses(*(accounts_client.patch("/lines/1", json={"invoice_id": to}) for to in targets)) == {200: 8}
    line = await read(accounts_client, "/lines/1")
    assert line["invoice_id"] in targets
    lines = [row["id"] for row in await read(accounts_client, "/lines/")]
    assert (lines, line["version"] >= 2) == ([1], True)


async def test_lines_that_are_moved_into_each_others_invoice_meet_no_deadlock(
    accounts_client: Client, database: Database
) -> None:
    await with_lines(database, 4, 4)
    moves = [accounts_client.patch(f"/lines/{at}", json={"invoice_id": 2, "text": f"m{at}"}) for at in range(1, 5)]
    moves += [accounts_client.patch(f"/lines/{at}", json={"invoice_id": 1, "text": f"m{at}"}) for at in range(5, 9)]
    assert await statuses(*moves) == {200: 8}
    rows = await read(accounts_client, "/lines/", sort="id")
    assert [row["invoice_id"] for row in rows] == [2] * 4 + [1] * 4


async def test_of_invoices_with_one_number_one_is_stored_with_its_lines(
    accounts_client: Client, database: Database
) -> None:
    await with_lines(database, 0)
    owner = (await read(accounts_client, "/invoices/1"))["owner_id"]
    new = {"number": "same", "owner_id": owner, "lines": [{"text": f"{at}", "amount": 1} for at in range(3)]}
    assert await statuses(*(accounts_client.post("/invoices/", json=new) for _ in range(WRITERS))) == {
        201: 1,
        409: WRITERS - 1,
    }
    assert len(await read(accounts_client, "/lines/")) == 3


@pytest.mark.parametrize("turn", range(3))
async def test_a_parent_without_ondelete_keeps_its_child_or_is_deleted_before(
    accounts_client: Client, database: Database, turn: int
) -> None:
    await fill(database, Genre, [{"name": "1"}, {"name": "2"}])  # with given ids, the sequence would give 1 once more
    child = (
        accounts_client.patch("/genres/2", json={"parent_id": 1})
        if turn
        else accounts_client.post("/genres/", json={"name": "3", "parent_id": 1})
    )
    order = [child, accounts_client.delete("/genres/1")]
    made, deleted = await asyncio.gather(*(order if turn < 2 else order[::-1]))
    if turn == 2:
        made, deleted = deleted, made
    assert (made.status_code in (200, 201), deleted.status_code == 204) in ((True, False), (False, True))
    assert {made.status_code, deleted.status_code} & {409}
    parents = {row["parent_id"] for row in await read(accounts_client, "/genres/")} - {None}
    assert parents <= {row["id"] for row in await read(accounts_client, "/genres/")}
