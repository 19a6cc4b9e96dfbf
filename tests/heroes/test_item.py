"""Items: prices exact to the cent, and an owner of whom only id and username are shown."""

import json
from typing import Any

import pytest

from tests.engines import Client
from tests.rows import Json, cheap_hashes, made, new_user, read

PRICES = (
    *(("9.99", "9.99"), (9.99, "9.99"), (9, "9.00"), ("9", "9.00"), ("9.9", "9.90"), (0, "0.00"), (0.1, "0.10")),
    *((10.0, "10.00"), ("00000009", "9.00"), (99999999.99, "99999999.99"), ("99999999.99", "99999999.99")),
)
NO_PRICES: tuple[Any, ...] = (True, False, None, [], {}, "", -1, -0.01, 9.999, 0.001, 100000000, 99999999.999, 10**30)
MISSPELT = (
    *("1e1", "NaN", "Infinity", " 1", "1 ", "1_0", "-1", "+1", "9.999", "9.", ".9", "1,5", "0x1", "100000000"),
    *("\u0661", "\uff11", "1\n", "1\0", "\ud800", "9.99 EUR", "true", "null", "1" * 5000),
)
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def new_item(client: Client, owner: Json, price: Any, **fields: Any) -> Json:
    return await made(client, "/items/", **{"name": "Teapot", "price": price, "owner_id": owner["id"]} | fields)


async def prices(client: Client, **parameters: str) -> list[str]:
    return [item["price"] for item in await read(client, "/items/", **parameters)]


@pytest.mark.parametrize(("given", "told"), PRICES)
async def test_a_price_is_a_string_or_a_number_and_comes_back_to_the_cent(
    client: Client, given: Any, told: str
) -> None:
    item = await new_item(client, await new_user(client), given)
    assert item["price"] == told
    assert await read(client, f"/items/{item['id']}") == item
    assert await read(client, "/items/", price=told) == [item]


@pytest.mark.parametrize("token", ["0", "-0", "0.0", "-0.0", "0e5", "-0e-5"])
async def test_a_price_of_zero_has_no_sign(client: Client, token: str) -> None:
    owner = await new_user(client)
    body = f'{{"name": "Teapot", "price": {token}, "owner_id": {owner["id"]}}}'
    answer = await client.post("/items/", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 201
    assert answer.json()["price"] == "0.00"


@pytest.mark.parametrize("price", [*NO_PRICES, *MISSPELT])
async def test_an_invalid_price_is_refused(client: Client, price: Any) -> None:
    item = await new_item(client, await new_user(client), "5")
    body = json.dumps({"name": "Teapot", "price": price, "owner_id": item["owner_id"]})
    for method, path in (("POST", "/items/"), ("PUT", f"/items/{item['id']}"), ("PATCH", f"/items/{item['id']}")):
        answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert {error["pointer"] for error in answer.json()["errors"]} == {"#/price"}
    assert await read(client, "/items/") == [item]


async def test_prices_are_sorted_as_numbers(client: Client) -> None:
    owner = await new_user(client)
    for price in ("10", "9.99", "100", "0.5", "9.9"):
        await new_item(client, owner, price)
    ascending = ["0.50", "9.90", "9.99", "10.00", "100.00"]
    assert await prices(client, sort="price") == ascending
    assert await prices(client, sort="-price") == ascending[::-1]
    page = await client.get("/items/?sort=price&limit=2")
    assert [item["price"] for item in await read(client, page.links["next"]["url"])] == ["9.99", "10.00"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("price", "9.9", ["9.90"]),
        ("price", "9.90", ["9.90"]),
        ("price__ne", "9.9", ["0.50", "10.00", "100.00"]),
        ("price__lt", "10", ["0.50", "9.90"]),
        ("price__lte", "10", ["0.50", "9.90", "10.00"]),
        ("price__gt", "9.9", ["10.00", "100.00"]),
        ("price__gte", "9.90", ["9.90", "10.00", "100.00"]),
        ("price__in", "10,100.00,7", ["10.00", "100.00"]),
        ("price__gt", "-1", ["0.50", "9.90", "10.00", "100.00"]),
    ],
)
async def test_prices_are_filtered_as_numbers(client: Client, name: str, value: str, found: list[str]) -> None:
    owner = await new_user(client)
    for price in ("0.5", "9.9", "10", "100"):
        await new_item(client, owner, price)
    assert await prices(client, sort="price", **{name: value}) == found


@pytest.mark.parametrize(
    "name", ["price", "price__ne", "price__lt", "price__lte", "price__gt", "price__gte", "price__in"]
)
@pytest.mark.parametrize("value", ["9.994", "9.999", "99999999999999999999"])
async def test_a_filter_finer_or_larger_than_any_price_is_right_or_refused(
    client: Client, name: str, value: str
) -> None:
    owner = await new_user(client)
    for price in ("9.99", "10"):
        await new_item(client, owner, price)
    below = ["9.99"] if float(value) < 10 else ["9.99", "10.00"]
    above = ["10.00"] if float(value) < 10 else []
    right = {"price": [], "price__in": [], "price__ne": ["9.99", "10.00"]}
    right |= dict.fromkeys(("price__lt", "price__lte"), below) | dict.fromkeys(("price__gt", "price__gte"), above)
    answer = await client.get("/items/", params={"sort": "price", name: value})
    assert answer.status_code == 422 or [item["price"] for item in answer.json()] == right[name]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "", "x", "1;2", "1_0"])
async def test_an_invalid_amount_in_a_filter_is_refused(client: Client, value: str) -> None:
    assert (await client.get("/items/", params={"price": value})).status_code == 422


async def test_the_owner_is_embedded_on_request_with_id_and_username(client: Client) -> None:
    owner = await new_user(client, full_name="Natasha Roman")
    item = await new_item(client, owner, "9.99")
    shown = item | {"owner": {"id": owner["id"], "username": owner["username"]}}
    assert "owner" not in item
    assert await read(client, f"/items/{item['id']}", include="owner") == shown
    assert await read(client, "/items/", include="owner") == [shown]
    assert (await client.patch(f"/items/{item['id']}", json=shown)).json()["version"] == 1


async def test_an_item_of_an_unknown_user_is_a_conflict(client: Client) -> None:
    item = await new_item(client, await new_user(client), "9.99")
    asked = [
        await client.post("/items/", json={"name": "Teapot", "price": 1, "owner_id": 77}),
        await client.patch(f"/items/{item['id']}", json={"owner_id": 77}),
    ]
    assert [answer.status_code for answer in asked] == [409, 409]
    assert all("owner_id" in answer.json()["detail"] for answer in asked)


async def test_an_item_can_get_another_owner(client: Client) -> None:
    item, other = await new_item(client, await new_user(client), "9.99"), await new_user(client)
    await client.patch(f"/items/{item['id']}", json={"owner_id": other["id"]})
    shown = await read(client, f"/items/{item['id']}", include="owner")
    assert shown["owner"]["username"] == other["username"]
