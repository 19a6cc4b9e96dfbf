"""Rows of users: what happens to them with their user, and what they show of the user."""

import pytest

from tests.engines import Client
from tests.heroes.served import is_served, needs, served
from tests.heroes.shop import new_product
from tests.people import Person
from tests.rows import Json, cheap_hashes, made, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)
LISTS = (
    "/items/?include=owner",
    "/posts/",
    "/products/?include=created_by,category",
    "/users/",
    "/reviews/",
    "/dashboard",
)


async def test_deleting_a_user_deletes_their_rows(client: Client) -> None:
    user, other = await new_user(client), await new_user(client)
    rows: Json = {
        "/items/": ("owner_id", {"name": "Teapot", "price": "1"}),
        "/posts/": ("author_id", {"title": "Tea", "body": ""}),
        "/reviews/": ("author_id", {"rating": 5}),
    }
    for path in served(rows):
        owner, fields = rows[path]
        fields |= {"product_id": (await new_product(client))["id"]} if path == "/reviews/" else {}
        for one in (user, other):
            await made(client, path, **fields, **{owner: one["id"]})
    assert (await client.delete(f"/users/{user['id']}")).status_code == 204
    for path in served(rows):
        assert [thing[rows[path][0]] for thing in await read(client, path)] == [other["id"]]


@needs("/products/")
async def test_deleting_a_user_keeps_their_products(client: Client) -> None:
    user = await new_user(client)
    product = await new_product(client, created_by_id=user["id"])
    assert (await client.delete(f"/users/{user['id']}")).status_code == 204
    left = await read(client, f"/products/{product['id']}")
    assert (left["created_by_id"], left["version"]) == (None, product["version"] + 1)
    assert left["updated_at"] > product["updated_at"]


@needs("/products/")
async def test_a_deleted_user_is_removed_from_deleted_products_too(client: Client) -> None:
    user = await new_user(client)
    product = await new_product(client, created_by_id=user["id"])
    await client.delete(f"/products/{product['id']}")
    assert (await client.delete(f"/users/{user['id']}")).status_code == 204
    (left,) = await read(client, "/products/", deleted="true")
    assert left["created_by_id"] is None


async def test_embedded_users_have_no_address(superuser: Person, natasha: Person, steve: Person) -> None:
    product = await new_product(superuser.client, created_by_id=steve.id) if is_served("/products/") else {"id": None}
    rows: dict[str, Json] = {
        "/items/": {"name": "Teapot", "price": "1"},
        "/posts/": {"title": "Tea", "body": "Hot."},
        "/reviews/": {"product_id": product["id"], "rating": 5},
    }
    for path in served(rows):
        await made(steve.client, path, **rows[path])
    for path in (*served([*LISTS, "/products/{product_id}/overview"]), "/openapi.json"):
        answer = await natasha.client.get(path.format(product_id=product["id"]))
        assert answer.status_code == 200
        assert steve.email not in answer.text
        assert superuser.email not in answer.text
