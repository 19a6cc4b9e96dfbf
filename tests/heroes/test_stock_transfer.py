"""Stock transfers: two movements or none, without deadlocks."""

import asyncio
from typing import Any

import pytest

from kit.database.databases import Database
from tests.engines import Client
from tests.heroes.shop import new_product
from tests.rows import UNKNOWN, made, read
from tests.statements import statements_of


def transfer_body(source: Any, target: Any, quantity: Any = 1) -> dict[str, Any]:
    return {"source_id": source["id"], "target_id": target["id"], "quantity": quantity}


async def stock(client: Client, *products: dict[str, Any]) -> list[int]:
    return [(await read(client, f"/products/{product['id']}"))["stock"] for product in products]


async def test_a_transfer_is_two_movements(client: Client) -> None:
    source, target = await new_product(client, stock=5), await new_product(client)
    transfer = await made(client, "/stock-transfers/", **transfer_body(source, target, 3))
    assert await stock(client, source, target) == [2, 3]
    for product, quantities in ((source, [5, -3]), (target, [3])):
        movements = await read(client, "/stock-movements/", product_id=product["id"])
        assert [movement["quantity"] for movement in movements] == quantities
    assert await read(client, f"/stock-transfers/{transfer['id']}") == transfer


async def test_a_transfer_of_more_than_the_stock_is_a_conflict_and_moves_nothing(client: Client) -> None:
    source, target = await new_product(client, stock=5), await new_product(client, stock=5)
    answer = await client.post("/stock-transfers/", json=transfer_body(source, target, 6))
    assert answer.status_code == 409
    assert "quantity" in answer.json()["detail"]
    assert await stock(client, source, target) == [5, 5]
    assert await read(client, "/stock-transfers/") == []
    assert len(await read(client, "/stock-movements/")) == 2


async def test_concurrent_opposite_transfers_do_not_deadlock(client: Client, database: Database) -> None:
    """A deadlock would be retried, which a second UPDATE would show."""
    one, other = await new_product(client, stock=5), await new_product(client, stock=5)
    ways = [transfer_body(one, other, 2), transfer_body(other, one, 2)] * 20
    with statements_of(database.writer) as statements:
        answers = await asyncio.gather(*(client.post("/stock-transfers/", json=way) for way in ways))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum("UPDATE product" in statement for statement in statements) == 40
    assert sum(answer.status_code == 201 for answer in answers) == len(await read(client, "/stock-transfers/"))
    assert sum(await stock(client, one, other)) == 10


async def test_transfers_in_a_ring_at_the_same_time_lose_no_stock(client: Client) -> None:
    ring = [await new_product(client, stock=20) for _ in range(3)]
    ways = [transfer_body(ring[place % 3], ring[(place + 1) % 3]) for place in range(30)]
    answers = await asyncio.gather(*(client.post("/stock-transfers/", json=way) for way in ways))
    assert {answer.status_code for answer in answers} == {201}
    assert await stock(client, *ring) == [20, 20, 20]


async def test_a_transfer_to_the_same_product_is_refused(client: Client) -> None:
    product = await new_product(client, stock=5)
    answer = await client.post("/stock-transfers/", json=transfer_body(product, product))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/target_id"


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "1", True, None])
async def test_a_transfer_quantity_that_is_not_a_positive_integer_is_refused(client: Client, quantity: Any) -> None:
    source, target = await new_product(client), await new_product(client)
    answer = await client.post("/stock-transfers/", json=transfer_body(source, target, quantity))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/quantity"


@pytest.mark.parametrize("field", ["source_id", "target_id"])
async def test_a_transfer_of_a_deleted_product_is_a_conflict_that_names_the_field(client: Client, field: str) -> None:
    source, target, deleted = [await new_product(client, stock=5) for _ in range(3)]
    await client.delete(f"/products/{deleted['id']}")
    for product_id in (UNKNOWN, deleted["id"]):
        answer = await client.post("/stock-transfers/", json=transfer_body(source, target) | {field: product_id})
        assert answer.status_code == 409
        assert field in answer.json()["detail"]
    assert await stock(client, source, target) == [5, 5]


async def test_transfers_of_a_bulk_use_the_stock_of_earlier_ones_and_fail_at_the_first_impossible_one(
    client: Client,
) -> None:
    first, second, third = await new_product(client, stock=5), await new_product(client), await new_product(client)
    chain = [transfer_body(first, second, 5), transfer_body(second, third, 4)]
    answer = await client.post("/stock-transfers/bulk", json=[*chain, transfer_body(second, third, 2)])
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/2/quantity"]
    assert await stock(client, first, second, third) == [5, 0, 0]
    assert (await client.post("/stock-transfers/bulk", json=chain)).status_code == 201
    assert await stock(client, first, second, third) == [0, 1, 4]


async def test_a_transfer_cannot_be_changed_or_deleted(client: Client) -> None:
    source, target = await new_product(client, stock=5), await new_product(client)
    transfer = await made(client, "/stock-transfers/", **transfer_body(source, target))
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await client.request(method, f"/stock-transfers/{transfer['id']}", json=transfer_body(source, target))
        assert answer.status_code == 405


async def test_a_skipping_bulk_executes_the_possible_transfers(client: Client) -> None:
    source, target = await new_product(client, stock=5), await new_product(client)
    bodies = [
        transfer_body(source, target, 4),
        transfer_body(source, target, 4),
        transfer_body(target, source, 3),
        transfer_body(source, source),
    ]
    outcome = (await client.post("/stock-transfers/bulk?on_error=skip", json=bodies)).json()
    assert [transfer["quantity"] for transfer in outcome["created"]] == [4, 3]
    assert [(one["index"], one["problem"]["status"]) for one in outcome["failed"]] == [(1, 409), (3, 422)]
    assert await stock(client, source, target) == [4, 1]
    assert len(await read(client, "/stock-movements/")) == 5
