"""Relations: embedded lists have a bound, an order and a link to the other rows, and take few queries."""

from typing import Any

import httpx
import pytest

from kit import Database, Service
from tests.engines import Client
from tests.kit import accounts
from tests.kit.accounts import Genre, Tag, Tagging, fill, with_lines
from tests.kit.bookshop import Book, Shelf
from tests.kit.probes import new_book, new_shelf, read
from tests.kit.service import create_runtime, create_service
from tests.statements import statements_of


async def all_of(client: Client, first: list[Any], link: str | None) -> list[Any]:
    """Return all related rows: the embedded ones, then those of each following page."""
    rows, follow = list(first), link
    while follow is not None:
        answer = await client.get(follow)
        assert answer.status_code == 200, answer.text
        rows += answer.json()
        follow = answer.links.get("next", {}).get("url")
    return rows


async def test_at_most_a_hundred_are_embedded_in_one_and_a_link_leads_to_the_rest(
    accounts_client: Client, database: Database
) -> None:
    await with_lines(database, 250)
    invoice = await read(accounts_client, "/invoices/1", include="lines")
    assert len(invoice["lines"]) == 100
    lines = await all_of(accounts_client, invoice["lines"], invoice["lines_next"])
    assert [line["amount"] for line in lines] == list(range(1, 251))


async def test_there_is_no_link_where_everything_is_embedded(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 100, 0)
    for shown in (
        await read(accounts_client, "/invoices/1", include="lines"),
        *await read(accounts_client, "/invoices/", include="lines"),
    ):
        assert "lines_next" not in shown
        assert len(shown["lines"]) in (0, 100)


@pytest.mark.untraced
@pytest.mark.parametrize("numbers", [(3, 250, 0, 101, 100), (2500, 1), (1, 2500, 130, 120)])
async def test_a_list_embeds_as_one_thing_does(accounts_client: Client, database: Database, numbers: Any) -> None:
    await with_lines(database, *numbers)
    for parameters in ({"include": "lines"}, {"include": "lines", "include_limit": 2}):
        invoices = await read(accounts_client, "/invoices/", sort="id", **parameters)
        alone = [await read(accounts_client, f"/invoices/{invoice['id']}", **parameters) for invoice in invoices]
        assert invoices == alone
        limit = parameters.get("include_limit", 100)
        assert [len(invoice["lines"]) for invoice in invoices] == [min(many, limit) for many in numbers]
        assert ["lines_next" in invoice for invoice in invoices] == [many > limit for many in numbers]


@pytest.mark.untraced
async def test_the_number_of_queries_is_bounded(accounts_client: Client, database: Database) -> None:
    await with_lines(database, *[30] * 100)
    with statements_of(database.reader) as statements:
        invoices = await read(accounts_client, "/invoices/", include="lines", include_limit=20)
    assert all(len(invoice["lines"]) == 20 for invoice in invoices)
    assert len(statements) <= 7  # 20 lists at a time, so that other requests have their turns


@pytest.mark.parametrize("wrong", ["0", "101", "x", "1,2", ""])
async def test_a_limit_that_is_none_is_refused(accounts_client: Client, wrong: str) -> None:
    answer = await accounts_client.get("/invoices/", params={"include": "lines", "include_limit": wrong})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "include_limit")


async def test_a_resource_without_lists_knows_no_limit(accounts_client: Client) -> None:
    assert (await accounts_client.get("/books/", params={"include_limit": 1})).status_code == 422


@pytest.mark.parametrize("include", ["lines", "lines,owner", "lines.invoice", "Lines", "", "lines,"])
async def test_only_relationships_that_are_declared_are_included(
    accounts_client: Client, database: Database, include: str
) -> None:
    await with_lines(database, 1)
    answer = await accounts_client.get("/invoices/1", params={"include": include})
    assert answer.status_code == (200 if set(include.split(",")) == {"lines"} else 422)


async def test_a_parameter_that_is_repeated_is_refused(accounts_client: Client) -> None:
    assert (await accounts_client.get("/invoices/?include=lines&include=lines")).status_code == 422


async def test_the_order_of_a_relationship_is_kept_and_goes_on_behind_the_link(
    accounts_client: Client, database: Database
) -> None:
    names = [f"{number * 7 % 10}" for number in range(10)]
    await fill(database, Genre, [{"id": 99, "name": "all", "parent_id": None}])
    await fill(database, Genre, [{"id": at, "name": name, "parent_id": 99} for at, name in enumerate(names, 1)])
    genre = await read(accounts_client, "/genres/99", include="children,parent", include_limit=4)
    assert genre["parent"] is None
    assert "sort=name" in genre["children_next"]
    children = await all_of(accounts_client, genre["children"], genre["children_next"])
    assert [child["name"] for child in children] == sorted(names)


async def test_a_tree_is_listed_with_parents_and_children(accounts_client: Client, database: Database) -> None:
    await fill(database, Genre, [{"id": 1, "name": "prose", "parent_id": None}])
    below = [{"id": at, "name": name, "parent_id": 1} for at, name in ((2, "novels"), (3, "tales"))]
    await fill(database, Genre, below)
    prose, novels, _ = await read(accounts_client, "/genres/", include="parent,children", sort="id")
    assert [child["name"] for child in prose["children"]] == ["novels", "tales"]
    assert (novels["parent"]["name"], novels["children"]) == ("prose", [])


async def test_several_foreign_keys_to_one_table_are_told_apart(accounts_client: Client, database: Database) -> None:
    await fill(database, Genre, [{"id": at, "name": name} for at, name in ((1, "prose"), (2, "verse"))])
    await accounts_client.post("/moves/", json={"source_id": 1, "target_id": 2})
    (move,) = await read(accounts_client, "/moves/", include="source,target")
    assert (move["source"]["name"], move["target"]["name"]) == ("prose", "verse")


async def with_tags(database: Database, *numbers: int) -> None:
    """Create a tag for each of these numbers of books."""
    books = [{"id": at, "title": f"{at}", "author": "A", "copies": 0} for at in range(1, 1 + max(numbers))]
    await fill(database, Book, books)
    await fill(database, Tag, [{"id": at, "name": f"{at}"} for at, _ in enumerate(numbers, 1)])
    links = [{"tag_id": at, "book_id": n} for at, many in enumerate(numbers, 1) for n in range(1, many + 1)]
    await fill(database, Tagging, links)


async def test_many_to_many_embeds_within_its_bound(accounts_client: Client, database: Database) -> None:
    await with_tags(database, 3, 150, 0)
    tags = await read(accounts_client, "/tags/", include="books", sort="id")
    assert [len(tag["books"]) for tag in tags] == [3, 100, 0]
    assert [book["id"] for book in tags[1]["books"]] == list(range(1, 101))
    assert [tag.get("books_next", "complete") for tag in tags] == ["complete", None, "complete"]
    assert [await read(accounts_client, f"/tags/{tag['id']}", include="books") for tag in tags] == tags


async def test_many_to_many_is_read_in_a_bounded_number_of_queries(accounts_client: Client, database: Database) -> None:
    await with_tags(database, *[30] * 20)
    with statements_of(database.reader) as statements:
        await read(accounts_client, "/tags/", include="books", include_limit=5)
    assert len(statements) <= 7  # 20 lists at a time, so that other requests have their turns


async def test_fields_and_include_go_together(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 3)
    invoice = await read(accounts_client, "/invoices/1", include="lines", include_limit=2, fields="number")
    assert invoice.keys() == {"number", "lines", "lines_next"}


@pytest.mark.untraced
async def test_the_link_is_under_the_prefix_of_a_proxy(database: Database) -> None:
    await with_lines(database, 3)
    app = create_service(create_runtime(database), *accounts.ROUTERS)
    transport = httpx.ASGITransport(app, root_path="/api/v1")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/invoices/1", "/invoices/"):
            shown = await read(client, path, include="lines", include_limit=2)
            link = (shown if isinstance(shown, dict) else shown[0])["lines_next"]
            assert link.startswith("/api/v1/lines/?invoice_id=1&cursor=")


async def test_an_answer_with_a_list_has_a_tag_of_its_content(accounts_client: Client, database: Database) -> None:
    await with_lines(database, 3)
    first = await accounts_client.get("/invoices/1?include=lines")
    assert first.headers["etag"].startswith('W/"')
    await accounts_client.patch("/lines/1", json={"amount": 9})
    assert (await accounts_client.get("/invoices/1?include=lines")).headers["etag"] != first.headers["etag"]


async def test_a_shelf_without_books_embeds_none(accounts_client: Client) -> None:
    shelf = await new_shelf(accounts_client)
    assert (await read(accounts_client, f"/shelves/{shelf['id']}", include="books"))["books"] == []
    await new_book(accounts_client, shelf_id=shelf["id"])
    assert len((await read(accounts_client, f"/shelves/{shelf['id']}", include="books"))["books"]) == 1


async def test_no_more_rows_are_loaded_than_are_shown(accounts_client: Client, database: Database) -> None:
    await fill(database, Shelf, [{"id": 1, "name": "all", "room": "hall"}])
    await fill(database, Book, [{"title": "t", "author": "a", "copies": 0, "shelf_id": 1} for _ in range(3000)])
    shelf = await read(accounts_client, "/shelves/1", include="books")
    assert (len(shelf["books"]), shelf["books_next"][:24]) == (100, "/books/?shelf_id=1&cursor="[:24])


@pytest.mark.untraced
async def test_the_document_shows_the_link(app: Service) -> None:
    properties = app.openapi()["components"]["schemas"]["ShelfReadPartial"]["properties"]
    assert properties["books_next"]["anyOf"] == [{"type": "string", "format": "uri-reference"}, {"type": "null"}]
