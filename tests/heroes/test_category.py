"""Categories: ids that sort by time, and no deletion of a category in use."""

import asyncio
from uuid import UUID

import pytest

from tests.engines import Client
from tests.heroes.shop import new_category, new_product
from tests.rows import ids, read


async def test_an_id_is_a_uuid_of_version_7_and_sorts_by_time(client: Client) -> None:
    made = [UUID((await new_category(client))["id"]) for _ in range(20)]
    answer = await client.post(
        "/categories/bulk", json=[{"name": f"Shed {place}", "slug": f"shed-{place}"} for place in range(100)]
    )
    made += [UUID(category["id"]) for category in answer.json()]
    assert {key.version for key in made} == {7}
    assert made == sorted(made)
    assert await ids(client, "/categories/") == [str(key) for key in made[:100]]


async def test_a_client_cannot_choose_an_id(client: Client) -> None:
    given = "01890000-0000-7000-8000-000000000000"
    assert (await new_category(client, id=given))["id"] != given


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_category_of_a_product_cannot_be_deleted_even_if_the_product_is_deleted(
    client: Client, deleted: bool
) -> None:
    category = await new_category(client)
    product = await new_product(client, category_id=category["id"])
    if deleted:
        await client.delete(f"/products/{product['id']}")
    answer = await client.delete(f"/categories/{category['id']}")
    assert answer.status_code == 409
    assert "category_id" in answer.json()["detail"]
    assert await read(client, f"/categories/{category['id']}") == category


async def test_a_category_that_is_no_longer_in_use_can_be_deleted(client: Client) -> None:
    category = await new_category(client)
    first, second = [await new_product(client, category_id=category["id"]) for _ in range(2)]
    await client.delete(f"/products/{first['id']}?permanent=true")
    await client.patch(f"/products/{second['id']}", json={"category_id": None})
    assert (await client.delete(f"/categories/{category['id']}")).status_code == 204
    assert (await client.get(f"/categories/{category['id']}")).status_code == 404


@pytest.mark.parametrize("field", ["name", "slug"])
async def test_name_and_slug_are_unique_under_a_race(client: Client, field: str) -> None:
    bodies = [{"name": f"Room {place}", "slug": f"room-{place}", field: "shed"} for place in range(20)]
    answers = await asyncio.gather(*(client.post("/categories/", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    assert all(field in answer.json()["detail"] for answer in answers if answer.status_code == 409)


async def test_moving_products_into_a_category_during_its_deletion_succeeds_or_is_refused(client: Client) -> None:
    for _ in range(5):
        category, product = await new_category(client), await new_product(client)
        deleting = client.delete(f"/categories/{category['id']}")
        using = client.patch(f"/products/{product['id']}", json={"category_id": category["id"]})
        statuses = [answer.status_code for answer in await asyncio.gather(deleting, using)]
        assert statuses in ([204, 409], [409, 200])
