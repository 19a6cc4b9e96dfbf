"""Products: unique while not deleted, hidden when deleted, restored unchanged, and updated in bulk."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from kit.database.databases import Database
from tests.engines import Client
from tests.heroes.served import needs
from tests.heroes.shop import new_category, new_product, product_body
from tests.rows import UNKNOWN, Json, cheap_hashes, ids, made, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


def path(product: Json) -> str:
    return f"/products/{product['id']}"


async def deleted(client: Client, **fields: Any) -> Json:
    product = await new_product(client, **fields)
    assert (await client.delete(path(product))).status_code == 204
    return product


async def change(client: Client, products: list[Json], **changes: Any) -> Any:
    return await client.patch("/products/bulk", json={"ids": [one["id"] for one in products], "changes": changes})


async def test_a_new_product_is_a_draft_without_stock(client: Client) -> None:
    product = await made(client, "/products/", **product_body())
    shown = {"status": "draft", "stock": 0, "deleted_at": None, "description": None, "created_by_id": None}
    assert {name: product[name] for name in shown} == shown


@pytest.mark.parametrize("field", ["slug", "sku"])
async def test_slug_and_sku_are_unique_under_a_race(client: Client, field: str) -> None:
    shared = product_body()[field]
    creating = [client.post("/products/", json=product_body(**{field: shared})) for _ in range(20)]
    answers = await asyncio.gather(*creating)
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {problem["errors"][0]["pointer"] for problem in refused} == {f"#/{field}"}
    assert all(field in problem["detail"] for problem in refused)


@pytest.mark.parametrize("field", ["slug", "sku"])
async def test_slug_and_sku_of_a_deleted_product_are_free(client: Client, field: str) -> None:
    gone = await deleted(client)
    successor = await new_product(client, **{field: gone[field]})
    assert await ids(client, "/products/", **{field: gone[field]}) == [successor["id"]]
    assert (await client.post("/products/", json=product_body(**{field: gone[field]}))).status_code == 409


@pytest.mark.parametrize(
    "slug", ["", "Kettle", "ket tle", "-kettle", "kettle-", "ket--tle", "kettlé", "k\n", "a" * 201]
)
async def test_a_slug_is_lower_case_words_and_hyphens(client: Client, slug: str) -> None:
    answer = await client.post("/products/", json=product_body(slug=slug))
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/slug"}


@pytest.mark.parametrize("sku", ["", "ket-1", "KET 1", "-KET", "KET-", "KET--1", "KÉT", "K\n", "A" * 65])
async def test_a_sku_is_upper_case_letters_digits_and_hyphens(client: Client, sku: str) -> None:
    answer = await client.post("/products/", json=product_body(sku=sku))
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/sku"}


@pytest.mark.parametrize("status", ["", "Draft", "gone", "DRAFT", 0, None, True])
async def test_another_status_is_refused(client: Client, status: Any) -> None:
    product = await new_product(client)
    for method, where in (("POST", "/products/"), ("PUT", path(product)), ("PATCH", path(product))):
        answer = await client.request(method, where, json=product_body(status=status))
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json()["errors"]} == {"#/status"}


async def test_a_status_can_be_changed_and_filtered_by(client: Client) -> None:
    product = await new_product(client)
    for status in ("active", "archived", "draft"):
        assert (await client.patch(path(product), json={"status": status})).json()["status"] == status
        assert await ids(client, "/products/", status=status) == [product["id"]]
    assert (await client.get("/products/?status=gone")).status_code == 422


@pytest.mark.parametrize("sentence", ["status = 'gone'", "status = NULL", "stock = -1", "stock = 1000000000001"])
async def test_the_database_refuses_invalid_values(client: Client, database: Database, sentence: str) -> None:
    await new_product(client)
    async with database.writer.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text(f"UPDATE product SET {sentence}"))  # noqa: S608  a constant of this test


@pytest.mark.parametrize("field", ["slug", "sku"])
async def test_the_database_enforces_uniqueness_among_products_that_are_not_deleted(
    client: Client, database: Database, field: str
) -> None:
    for _ in range(2):
        await new_product(client)
    async with database.writer.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text(f"UPDATE product SET {field} = 'X'"))  # noqa: S608  a constant of this test


@needs("/stock-movements/")
@pytest.mark.parametrize("query", [{}, {"q": "kettle"}, {"name": "Kettle"}, {"stock__gte": "5"}, {"sort": "-name"}])
async def test_a_deleted_product_is_in_no_list_and_no_count(client: Client, query: Json) -> None:
    gone = await deleted(client, name="Kettle", stock=5)
    there = await new_product(client, name="Kettle", stock=5)
    answer = await client.get("/products/", params={**query, "count": "true"})
    assert [product["id"] for product in answer.json()] == [there["id"]]
    assert answer.headers["X-Total-Count"] == "1"
    hidden = await client.get("/products/", params={**query, "count": "true", "deleted": "true"})
    assert [product["id"] for product in hidden.json()] == [gone["id"]]
    assert hidden.headers["X-Total-Count"] == "1"


async def test_a_deleted_product_is_not_found_by_any_method(client: Client) -> None:
    gone = await deleted(client)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        body = None if method in ("GET", "HEAD", "DELETE") else product_body()
        assert (await client.request(method, path(gone), json=body)).status_code == 404
    assert (await client.get(f"{path(gone)}/overview")).status_code == 404
    assert (await client.get(path(gone), params={"deleted": "false"})).status_code == 404


async def test_a_deleted_product_is_shown_on_request(client: Client) -> None:
    gone = await deleted(client)
    shown = await read(client, path(gone), deleted="true")
    assert shown["deleted_at"].endswith("Z")
    assert shown["version"] == gone["version"] + 1
    assert shown == gone | {name: shown[name] for name in ("deleted_at", "version", "updated_at")}


@needs("/reviews/")
async def test_reviews_of_a_deleted_product_are_hidden_and_new_ones_are_refused(client: Client) -> None:
    product, author = await new_product(client), await new_user(client)
    fields = {"product_id": product["id"], "author_id": author["id"], "rating": 5}
    review = await made(client, "/reviews/", **fields)
    await client.delete(path(product))
    assert await read(client, "/reviews/") == []
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {} if method == "PATCH" else fields if method == "PUT" else None
        assert (await client.request(method, f"/reviews/{review['id']}", json=body)).status_code == 404
    answer = await client.post("/reviews/", json=fields | {"author_id": (await new_user(client))["id"]})
    assert answer.status_code == 409
    assert "product_id" in answer.json()["detail"]


@needs("/reviews/", "/stock-movements/", "/products/{product_id}/deletion")
@pytest.mark.parametrize("first", ["", "?permanent=false"])
async def test_permanent_deletion_deletes_the_product_with_its_reviews_and_movements(
    client: Client, database: Database, first: str
) -> None:
    product, other, author = await new_product(client, stock=5), await new_product(client), await new_user(client)
    await made(client, "/reviews/", product_id=product["id"], author_id=author["id"], rating=5)
    await made(client, "/stock-transfers/", source_id=product["id"], target_id=other["id"], quantity=2)
    if first:
        await client.delete(path(product) + first)
    assert (await client.delete(f"{path(product)}?permanent=true")).status_code == 204
    assert await ids(client, "/products/", deleted="true") == []
    assert (await client.get(path(product), params={"deleted": "true"})).status_code == 404
    async with database.connect() as connection:
        for table, left in (("review", 0), ("stock_movement", 1), ("stock_transfer", 0)):
            counted = await connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608  constants
            assert counted.scalar_one() == left
    assert (await read(client, path(other)))["stock"] == 2


async def test_permanent_is_true_or_false(client: Client) -> None:
    product = await new_product(client)
    assert (await client.delete(f"{path(product)}?permanent=yes")).status_code == 422
    assert (await client.delete(f"/products/{UNKNOWN}?permanent=true")).status_code == 404
    assert await read(client, path(product)) == product


async def test_category_and_creator_are_embedded_on_request(client: Client) -> None:
    category, user = await new_category(client), await new_user(client)
    product = await new_product(client, category_id=category["id"], created_by_id=user["id"])
    shown = await read(client, path(product), include="category,created_by")
    assert shown["category"] == category
    assert shown["created_by"] == {"id": user["id"], "username": user["username"]}
    assert (await read(client, "/products/", include="category,created_by")) == [shown]
    assert (await read(client, "/products/", include="category"))[0].keys() == product.keys() | {"category"}


@pytest.mark.parametrize(("field", "value"), [("category_id", UNKNOWN), ("created_by_id", 77)])
async def test_a_product_with_an_unknown_reference_is_refused(client: Client, field: str, value: Any) -> None:
    product = await new_product(client)
    asked = [
        await client.post("/products/", json=product_body(**{field: value})),
        await client.patch(path(product), json={field: value}),
        await change(client, [product], **{field: value}),
    ]
    assert [answer.status_code for answer in asked] == [409] * 3
    assert all(field in answer.json()["detail"] for answer in asked)
    assert await read(client, path(product)) == product


async def test_a_bulk_update_changes_many_products_and_increments_each_version_once(client: Client) -> None:
    products, other = [await new_product(client) for _ in range(3)], await new_product(client)
    answer = await change(client, products, status="active", description="It whistles.")
    assert answer.status_code == 200
    assert answer.json() == {"updated": 3}
    for product in products:
        now = await read(client, path(product))
        assert (now["status"], now["description"], now["version"]) == ("active", "It whistles.", 2)
        assert now["updated_at"] > product["updated_at"]
    assert await read(client, path(other)) == other


async def test_an_unchanged_product_keeps_its_version(client: Client) -> None:
    active, draft = await new_product(client, status="active"), await new_product(client)
    assert (await change(client, [active, draft], status="active")).json() == {"updated": 2}
    assert await read(client, path(active)) == active
    assert (await read(client, path(draft)))["version"] == 2
    assert (await change(client, [active, draft])).json() == {"updated": 2}
    assert (await change(client, [active, draft], category_id=None)).json() == {"updated": 2}
    assert await read(client, path(active)) == active


async def test_a_repeated_id_is_changed_once(client: Client) -> None:
    product = await new_product(client)
    assert (await change(client, [product, product], status="active")).json() == {"updated": 1}
    assert (await read(client, path(product)))["version"] == 2


async def test_a_missing_product_aborts_the_bulk_update(client: Client) -> None:
    product, gone = await new_product(client), await deleted(client)
    answer = await change(client, [product, {"id": UNKNOWN}, product, gone], status="active")
    assert answer.status_code == 404
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/ids/1", "#/ids/3"]
    assert await read(client, path(product)) == product


@pytest.mark.parametrize("field", ["slug", "sku"])
async def test_a_bulk_update_cannot_set_a_unique_field(client: Client, field: str) -> None:
    products = [await new_product(client) for _ in range(2)]
    for chosen, value in ((products, product_body()[field]), (products[:1], products[1][field])):
        answer = await change(client, chosen, **{field: value})
        assert answer.status_code == 409
        assert field in answer.json()["detail"]
    assert [await read(client, path(product)) for product in products] == products


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"ids": []}, "#/ids"),
        ({"ids": [UNKNOWN] * 1001}, "#/ids"),
        ({"ids": [1]}, "#/ids/0"),
        ({"ids": ["x"]}, "#/ids/0"),
        ({"ids": None}, "#/ids"),
        ({"changes": {"status": "gone"}}, "#/changes/status"),
        ({"changes": {"name": None}}, "#/changes/name"),
        ({"changes": {"rank": 1}}, "#/changes/rank"),
        ({"changes": None}, "#/changes"),
        ({"where": {}}, "#/where"),
    ],
)
async def test_an_invalid_change_of_a_bulk_update_is_pointed_at(client: Client, body: Json, pointer: str) -> None:
    answer = await client.patch("/products/bulk", json={"ids": [UNKNOWN], "changes": {}} | body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.untraced
async def test_a_thousand_products_are_changed_by_one_request(client: Client) -> None:
    products = (await client.post("/products/bulk", json=[product_body() for _ in range(1000)])).json()
    assert (await change(client, products, status="active")).json() == {"updated": 1000}
    answer = await client.get("/products/?status=active&count=true&limit=1")
    assert answer.headers["X-Total-Count"] == "1000"


async def test_concurrent_bulk_updates_in_opposite_orders_all_succeed(client: Client) -> None:
    products = [await new_product(client) for _ in range(10)]
    changing = [change(client, products[::way], description=f"{way} {turn}") for turn in range(5) for way in (1, -1)]
    assert {answer.status_code for answer in await asyncio.gather(*changing)} == {200}
    assert {product["version"] for product in await read(client, "/products/")} == {11}


async def test_a_conflict_of_a_bulk_update_points_at_the_conflicting_field(client: Client) -> None:
    products = [await new_product(client) for _ in range(2)]
    answer = await change(client, products, slug="the-same")
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/changes/slug"]
