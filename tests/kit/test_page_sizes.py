"""Sizes of pages: a page of large rows ends earlier, and its `Link` leads to the others."""

import re
from collections.abc import AsyncIterator
from enum import StrEnum
from math import inf
from typing import Any

import pytest
from httpx import Response
from pydantic import computed_field
from sqlalchemy import JSON, Column, Integer, String
from sqlmodel import AutoString

from kit import Database, Read
from kit.models.columns import EnumColumn
from kit.query.page_sizes import largest_row, size_of_column, size_of_variant
from tests.engines import Client
from tests.kit.bookshop import Book, BookQuery, ShelfQuery
from tests.kit.probes import new_shelf
from tests.kit.service import FAST_PATH, client_of, create_runtime, create_service

SIZE = 2000
"""The largest page of these tests, in bytes."""
NUMBER = 30


class Colour(StrEnum):
    RED = "red"


@pytest.fixture(params=["plain", "fast"] if FAST_PATH else ["plain"])
async def client(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Client]:
    service = create_service(create_runtime(database, max_page_size=SIZE), fast=request.param == "fast")
    async with client_of(service) as client:
        yield client


async def pages_of(client: Client, path: str) -> list[Response]:
    """Return all pages of a list, by its links."""
    pages = [await client.get(path)]
    while link := pages[-1].headers.get("link"):
        pages.append(await client.get(re.findall("<(.*)>", link)[0]))
    return pages


@pytest.mark.untraced
@pytest.mark.parametrize("query", ["", "?sort=-name&count=true", "?limit=20", "?fields=name", "?offset=3"])
async def test_a_page_ends_before_its_largest_size_and_links_to_the_rest(client: Client, query: str) -> None:
    for number in range(NUMBER):
        await new_shelf(client, name=f"Shelf {number:03}")
    pages = await pages_of(client, f"/shelves/{query}")
    assert all(len(page.content) <= SIZE + 100 for page in pages)  # commas and brackets are not counted
    names = [row["name"] for page in pages for row in page.json()]
    skipped = 3 if "offset" in query else 0
    assert sorted(names) == [f"Shelf {number:03}" for number in range(skipped, NUMBER)]
    assert len(pages) > (1 if "fields" not in query else 0)
    assert all(page.headers.get("x-total-count") == ("30" if "count" in query else None) for page in pages)


async def test_a_page_has_at_least_one_row(client: Client) -> None:
    for number in range(3):
        await new_shelf(client, name=f"Shelf {number}", room="x" * 50)
    client._transport.app.runtime.max_page_size = 10  # type: ignore[attr-defined]
    pages = await pages_of(client, "/shelves/")
    assert [len(page.json()) for page in pages] == [1, 1, 1]


async def test_embedded_rows_count(client: Client) -> None:
    shelves = [await new_shelf(client, name=name) for name in ("One", "Other")]
    for number in range(10):
        for shelf in shelves:
            book: Any = {"title": f"Book {number}", "author": "x" * 100, "shelf_id": shelf["id"]}
            assert (await client.post("/books/", json=book)).status_code == 201
    assert [len(page.json()) for page in await pages_of(client, "/shelves/?include=books")] == [1, 1]


class LeafRead(Read):
    id: int


class LoanRead(Read):
    id: int
    shelf: LeafRead | None = None


class LoopRead(Read):
    shelf: "LoopRead | None" = None


class OtherRead(Read):
    shelf: dict[str, str]


class UnknownRead(Read):
    nothing: int


class ComputedRead(Read):
    id: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def label(self) -> str:
        return "x" * self.id


@pytest.mark.parametrize(
    ("read", "size"),
    [(LeafRead, 100), (LoanRead, 200), (LoopRead, inf), (OtherRead, inf), (UnknownRead, inf), (ComputedRead, inf)],
)
def test_a_variant_that_shows_more_than_columns_may_have_no_bound(read: type[Read], size: float) -> None:
    assert size_of_variant(Book, read) == size


@pytest.mark.parametrize(
    ("kind", "size"),
    [(Integer(), 100), (String(10), 160), (AutoString(), inf), (JSON(), inf), (EnumColumn(Colour, None), 1000)],
)
def test_a_column_has_the_bound_of_its_type(kind: Any, size: float) -> None:
    assert size_of_column(Column("a", kind)) == size


def test_the_size_of_a_row_follows_from_its_columns() -> None:
    assert 1000 < largest_row(ShelfQuery, ()) < largest_row(ShelfQuery, ("books",)) < 10**8
    assert largest_row(BookQuery, ()) < 10**5
