"""Reviews: one per product and author, rated from 1 to 5."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from kit.database.databases import Database
from tests.engines import Client
from tests.heroes.shop import new_product
from tests.rows import UNKNOWN, Json, cheap_hashes, made, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def review_body(client: Client, **fields: Any) -> Json:
    product, author = await new_product(client), await new_user(client)
    return {"product_id": product["id"], "author_id": author["id"], "rating": 4} | fields


async def test_of_concurrent_reviews_by_one_author_one_succeeds(client: Client) -> None:
    body = await review_body(client)
    answers = await asyncio.gather(*(client.post("/reviews/", json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    assert all("product_id" in answer.json()["detail"] for answer in answers if answer.status_code == 409)
    assert len(await read(client, "/reviews/")) == 1


async def test_an_author_reviews_many_products_and_a_product_has_many_reviews(client: Client) -> None:
    body = await review_body(client)
    await made(client, "/reviews/", **body)
    await made(client, "/reviews/", **body | {"author_id": (await new_user(client))["id"]})
    await made(client, "/reviews/", **body | {"product_id": (await new_product(client))["id"]})
    assert len(await read(client, "/reviews/")) == 3


async def test_a_review_cannot_be_moved_to_a_product_that_the_author_has_reviewed(client: Client) -> None:
    body = await review_body(client)
    other = body | {"product_id": (await new_product(client))["id"]}
    review, _ = await made(client, "/reviews/", **body), await made(client, "/reviews/", **other)
    path = f"/reviews/{review['id']}"
    asked = [await client.put(path, json=other), await client.patch(path, json={"product_id": other["product_id"]})]
    assert [answer.status_code for answer in asked] == [409, 409]
    assert await read(client, path) == review


async def test_a_review_can_be_changed_deleted_and_created_again(client: Client) -> None:
    body = await review_body(client)
    path = f"/reviews/{(await made(client, '/reviews/', **body))['id']}"
    changed = await client.patch(path, json={"rating": 1, "body": "It does not whistle."})
    assert (changed.json()["rating"], changed.json()["version"]) == (1, 2)
    assert (await client.put(path, json=body)).json()["body"] is None
    assert (await client.delete(path)).status_code == 204
    await made(client, "/reviews/", **body)


@pytest.mark.parametrize("rating", [0, 6, -1, 2.5, 4.5, "4", True, None, 10**20])
async def test_a_rating_is_an_integer_from_1_to_5(client: Client, rating: Any) -> None:
    body = await review_body(client)
    path = f"/reviews/{(await made(client, '/reviews/', **body))['id']}"
    for method, where in (("POST", "/reviews/"), ("PUT", path), ("PATCH", path)):
        answer = await client.request(method, where, json=body | {"rating": rating})
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json()["errors"]} == {"#/rating"}


@pytest.mark.parametrize("rating", [0, 6])
async def test_the_database_itself_refuses_another_rating(client: Client, database: Database, rating: int) -> None:
    await made(client, "/reviews/", **await review_body(client))
    async with database.writer.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text("UPDATE review SET rating = :rating"), {"rating": rating})


@pytest.mark.parametrize(("field", "value"), [("product_id", UNKNOWN), ("author_id", 77)])
async def test_a_review_with_an_unknown_product_or_author_is_refused(client: Client, field: str, value: Any) -> None:
    body = await review_body(client)
    review = await made(client, "/reviews/", **body)
    path = f"/reviews/{review['id']}"
    asked = [
        await client.post("/reviews/", json=body | {field: value}),
        await client.put(path, json=body | {field: value}),
        await client.patch(path, json={field: value}),
        await client.post("/reviews/bulk", json=[body | {field: value}]),
    ]
    assert [answer.status_code for answer in asked] == [409] * 4
    assert all(field in answer.json()["detail"] for answer in asked)
    assert await read(client, path) == review


async def test_a_review_cannot_be_moved_to_a_deleted_product(client: Client) -> None:
    review, gone = await made(client, "/reviews/", **await review_body(client)), await new_product(client)
    await client.delete(f"/products/{gone['id']}")
    answer = await client.patch(f"/reviews/{review['id']}", json={"product_id": gone["id"]})
    assert answer.status_code == 409
    assert "product_id" in answer.json()["detail"]
    assert await read(client, "/reviews/") == [review]


async def test_a_bulk_points_at_the_review_of_an_unknown_product(client: Client) -> None:
    first, second = await review_body(client), await review_body(client, product_id=UNKNOWN)
    answer = await client.post("/reviews/bulk", json=[first, second])
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/1/product_id"]
    assert await read(client, "/reviews/") == []
