"""Product deletions: deleting the deletion restores the product unchanged."""

import asyncio

import pytest

from tests.engines import Client
from tests.heroes.served import needs
from tests.heroes.shop import new_product
from tests.heroes.test_product import deleted, path
from tests.rows import UNKNOWN, cheap_hashes, ids, made, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


@needs("/reviews/", "/stock-movements/")
async def test_a_restored_product_is_visible_with_its_reviews(client: Client) -> None:
    product, author = await new_product(client, stock=5), await new_user(client)
    await made(client, "/reviews/", product_id=product["id"], author_id=author["id"], rating=5)
    await client.delete(path(product))
    assert (await client.delete(f"{path(product)}/deletion")).status_code == 204
    shown = await read(client, path(product))
    assert shown == product | {"version": product["version"] + 2, "updated_at": shown["updated_at"]}
    assert await read(client, "/products/", deleted="true") == []
    assert len(await read(client, "/reviews/")) == len(await read(client, "/stock-movements/")) == 1


async def test_a_product_that_is_not_deleted_cannot_be_restored(client: Client) -> None:
    product = await new_product(client)
    assert (await client.delete(f"{path(product)}/deletion")).status_code == 404
    assert (await client.delete(f"/products/{UNKNOWN}/deletion")).status_code == 404
    assert await read(client, path(product)) == product


@pytest.mark.parametrize("field", ["slug", "sku"])
async def test_restoring_is_a_conflict_if_slug_or_sku_was_taken_meanwhile(client: Client, field: str) -> None:
    gone = await deleted(client)
    await new_product(client, **{field: gone[field]})
    answer = await client.delete(f"{path(gone)}/deletion")
    assert answer.status_code == 409
    assert field in answer.json()["detail"]
    assert await ids(client, "/products/", deleted="true") == [gone["id"]]


async def test_restoring_and_deleting_check_the_version(client: Client) -> None:
    product = await new_product(client)
    for where in (path(product), f"{path(product)}/deletion"):
        assert (await client.delete(where, headers={"If-Match": '"77"'})).status_code == 412
        version = (await client.get(path(product), params={"deleted": "true"})).headers["ETag"]
        assert (await client.delete(where, headers={"If-Match": version})).status_code == 204


async def test_of_concurrent_restores_one_succeeds(client: Client) -> None:
    gone = await deleted(client)
    answers = await asyncio.gather(*(client.delete(f"{path(gone)}/deletion") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [204, *[404] * 9]
    assert (await read(client, path(gone)))["version"] == gone["version"] + 2
