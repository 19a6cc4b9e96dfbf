"""A thousand rows of each resource are created by few statements, and returned in order."""

from collections.abc import Awaitable, Callable

import pytest

from kit import Database
from tests.application import FAST_PATH
from tests.engines import Client
from tests.heroes.powers import new_hero
from tests.heroes.served import served
from tests.heroes.shop import new_category, new_product, product_body
from tests.rows import Json, cheap_hashes, made, new_user, read
from tests.statements import statements_of

THOUSAND = 1000
CONTROL = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT", "SELECT set_config")
MOST = 5
"""The largest number of statements, without those that control the transaction."""
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def teams(_: Client) -> list[Json]:
    return [{"name": f"Team {number}", "headquarters": "Sharp Tower"} for number in range(THOUSAND)]


async def heroes(client: Client) -> list[Json]:
    team = await made(client, "/teams/", name="Z-Force", headquarters="Sister Margaret's")
    return [{"name": f"H{number}", "secret_name": "S", "team_id": team["id"]} for number in range(THOUSAND)]


async def items(client: Client) -> list[Json]:
    owner = await new_user(client)
    return [{"name": "Teapot", "price": f"{number}.50", "owner_id": owner["id"]} for number in range(THOUSAND)]


async def posts(client: Client) -> list[Json]:
    authors = [(await new_user(client))["id"] for _ in range(3)]
    return [
        {"title": f"No. {number}", "body": "Short.", "author_id": authors[number % 3]} for number in range(THOUSAND)
    ]


async def categories(_: Client) -> list[Json]:
    return [{"name": f"Room {number}", "slug": f"room-{number}"} for number in range(THOUSAND)]


async def products(client: Client) -> list[Json]:
    category, user = await new_category(client), await new_user(client)
    return [product_body(category_id=category["id"], created_by_id=user["id"]) for _ in range(THOUSAND)]


async def reviews(client: Client) -> list[Json]:
    author = await new_user(client)
    reviewed = (await client.post("/products/bulk", json=[product_body() for _ in range(THOUSAND)])).json()
    return [{"product_id": product["id"], "author_id": author["id"], "rating": 5} for product in reviewed]


async def movements(client: Client) -> list[Json]:
    moved = [(await new_product(client))["id"] for _ in range(3)]
    return [{"product_id": moved[number % 3], "quantity": number + 1} for number in range(THOUSAND)]


async def stock_transfers(client: Client) -> list[Json]:
    moved = [(await new_product(client, stock=10 * THOUSAND))["id"] for _ in range(3)]
    return [
        {"source_id": moved[number % 3], "target_id": moved[(number + 1) % 3], "quantity": number % 7 + 1}
        for number in range(THOUSAND)
    ]


async def power_transfers(client: Client) -> list[Json]:
    given = [(await new_hero(client, power=10 * THOUSAND))["id"] for _ in range(3)]
    return [
        {"from_id": given[number % 3], "to_id": given[(number + 1) % 3], "amount": number % 7 + 1}
        for number in range(THOUSAND)
    ]


THOUSANDS: dict[str, Callable[[Client], Awaitable[list[Json]]]] = {
    "/teams/": teams,
    "/heroes/": heroes,
    "/items/": items,
    "/posts/": posts,
    "/categories/": categories,
    "/products/": products,
    "/reviews/": reviews,
    "/stock-movements/": movements,
    "/stock-transfers/": stock_transfers,
    "/power-transfers/": power_transfers,
}


@pytest.mark.untraced
@pytest.mark.parametrize("path", served(THOUSANDS))
async def test_a_thousand_rows_are_created_by_few_statements_and_returned_in_order(
    client: Client, database: Database, path: str
) -> None:
    bodies = await THOUSANDS[path](client)
    with statements_of(database.writer) as statements:
        answer = await client.post(f"{path}bulk", json=bodies)
    assert answer.status_code == 201, answer.text
    number = len([statement for statement in statements if not statement.startswith(CONTROL)])
    assert number >= 1
    if FAST_PATH or not database.is_sqlite:  # without the fast path, one by one on SQLite, for their ids
        assert number <= MOST
    assert [{name: thing[name] for name in bodies[0]} for thing in answer.json()] == bodies
    ids = [thing["id"] for thing in answer.json()]
    assert ids == sorted(ids)
    for thing in (answer.json()[0], answer.json()[-1]):
        assert await read(client, f"{path}{thing['id']}") == thing
