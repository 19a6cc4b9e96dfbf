"""Stock movements: the stock is never negative, movements never change, and their sum is the stock."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from heroes.stock_movement import MAX_QUANTITY
from kit.database.databases import Database
from tests.engines import Client
from tests.heroes.served import needs
from tests.heroes.shop import new_product
from tests.rows import UNKNOWN, Json, made, read

OPERATIONS = 32
Requests = list[Coroutine[Any, Any, Response]]


@contextmanager
def aborting(engine: AsyncEngine, generator: random.Random) -> Iterator[Counter[str]]:
    """Cancel some of the writing tasks, each before it executes a statement or commits."""
    doomed: dict[asyncio.Task[Any], int] = {}
    happened: Counter[str] = Counter()

    def step(connection: Connection, *_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        left = doomed.setdefault(task, generator.choice([0, 1, 2, 3, 4, 99, 99, 99, 99, 99]))
        doomed[task] = left - 1
        if left == 0:
            happened["aborted"] += 1
            task.cancel()

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine.sync_engine, name, step)
    try:
        yield happened
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine.sync_engine, name, step)


def any_operation(client: Client, products: list[str], generator: random.Random) -> Coroutine[Any, Any, Response]:
    source, target = generator.sample(products, 2)
    quantity = generator.randint(1, 20)
    if generator.random() < 0.5:
        transfer = {"source_id": source, "target_id": target, "quantity": quantity}
        return client.post("/stock-transfers/", json=transfer)
    signed = quantity * generator.choice([1, -1, -1])
    return client.post("/stock-movements/", json={"product_id": source, "quantity": signed})


async def moved(client: Client, product_id: str) -> int:
    movements = await read(client, "/stock-movements/", product_id=product_id)
    return sum(movement["quantity"] for movement in movements)


@pytest.mark.untraced
@needs("/stock-transfers/")
@pytest.mark.parametrize("seed", range(5))
async def test_the_stock_is_the_sum_of_the_movements_despite_refusals_and_aborts(
    client: Client, database: Database, seed: int
) -> None:
    generator = random.Random(seed)
    products = [(await new_product(client, stock=15))["id"] for _ in range(3)]
    operations = [any_operation(client, products, generator) for _ in range(OPERATIONS)]
    with aborting(database.writer, generator) as happened:
        answers = await asyncio.gather(*map(asyncio.create_task, operations), return_exceptions=True)
    outcomes = Counter(answer.status_code if isinstance(answer, Response) else type(answer) for answer in answers)
    assert set(outcomes) == {201, 409, asyncio.CancelledError}
    assert outcomes[asyncio.CancelledError] == happened["aborted"]
    for product_id in products:
        stock = (await read(client, f"/products/{product_id}"))["stock"]
        assert stock == await moved(client, product_id)
        assert stock >= 0


@pytest.mark.parametrize("seed", range(3))
async def test_acknowledged_movements_are_stored_and_refused_ones_are_not(client: Client, seed: int) -> None:
    generator = random.Random(seed)
    products = [(await new_product(client))["id"] for _ in range(3)]
    bodies = [{"product_id": generator.choice(products), "quantity": generator.choice([7, -5])} for _ in range(40)]
    answers = await asyncio.gather(*(client.post("/stock-movements/", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {201, 409}
    created = [answer.json() for answer in answers if answer.status_code == 201]
    listed = await read(client, "/stock-movements/", limit=100)
    assert sorted(created, key=str) == sorted(listed, key=str)


async def test_aborted_writes_leak_no_connection(client: Client, database: Database) -> None:
    product = await new_product(client, stock=100)
    body = {"product_id": product["id"], "quantity": -1}
    for _ in range(3):
        with aborting(database.writer, random.Random(1)):
            tasks = [asyncio.create_task(client.post("/stock-movements/", json=body)) for _ in range(20)]
            await asyncio.gather(*tasks, return_exceptions=True)
    answers = await asyncio.gather(*(client.post("/stock-movements/", json=body) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert (await read(client, f"/products/{product['id']}"))["stock"] == await moved(client, product["id"])


async def test_a_movement_changes_the_stock_and_the_version_of_its_product(client: Client) -> None:
    product = await new_product(client)
    movement = await made(client, "/stock-movements/", product_id=product["id"], quantity=12, reason="Delivery")
    await made(client, "/stock-movements/", product_id=product["id"], quantity=-12)
    after = await read(client, f"/products/{product['id']}")
    assert (after["stock"], after["version"]) == (0, product["version"] + 2)
    assert after["updated_at"] > product["updated_at"]
    assert await read(client, f"/stock-movements/{movement['id']}") == movement


async def test_a_movement_below_zero_is_a_conflict_and_changes_nothing(client: Client) -> None:
    product = await new_product(client, stock=5)
    answer = await client.post("/stock-movements/", json={"product_id": product["id"], "quantity": -6})
    assert answer.status_code == 409
    assert "quantity" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "#/quantity"
    assert await read(client, f"/products/{product['id']}") == product
    assert await moved(client, product["id"]) == 5


async def test_a_movement_above_the_largest_stock_is_a_conflict(client: Client) -> None:
    product = await new_product(client)
    full = [{"product_id": product["id"], "quantity": MAX_QUANTITY}] * 1000
    assert (await client.post("/stock-movements/bulk", json=full)).status_code == 201
    answer = await client.post("/stock-movements/", json={"product_id": product["id"], "quantity": 1})
    assert answer.status_code == 409


@pytest.mark.parametrize("quantity", [0, 1.5, "1", True, None, MAX_QUANTITY + 1, -MAX_QUANTITY - 1])
async def test_a_quantity_that_is_zero_or_not_an_integer_is_refused(client: Client, quantity: Any) -> None:
    product = await new_product(client)
    answer = await client.post("/stock-movements/", json={"product_id": product["id"], "quantity": quantity})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/quantity"]


async def test_a_movement_of_an_unknown_or_deleted_product_is_a_conflict_that_names_the_field(client: Client) -> None:
    deleted = await new_product(client, stock=5)
    await client.delete(f"/products/{deleted['id']}")
    for product_id in (UNKNOWN, deleted["id"]):
        answer = await client.post("/stock-movements/", json={"product_id": product_id, "quantity": 1})
        assert answer.status_code == 409
        assert "product_id" in answer.json()["detail"]


@needs("/products/{product_id}/deletion")
async def test_movements_of_a_deleted_product_are_hidden_until_it_is_restored(client: Client) -> None:
    product = await new_product(client, stock=5)
    (movement,) = await read(client, "/stock-movements/")
    await client.delete(f"/products/{product['id']}")
    assert await read(client, "/stock-movements/") == []
    assert (await client.get(f"/stock-movements/{movement['id']}")).status_code == 404
    await client.delete(f"/products/{product['id']}/deletion")
    assert await read(client, "/stock-movements/") == [movement]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_movement_cannot_be_changed_or_deleted(client: Client, method: str) -> None:
    await new_product(client, stock=5)
    (movement,) = await read(client, "/stock-movements/")
    answer = await client.request(method, f"/stock-movements/{movement['id']}", json=movement)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert await read(client, f"/stock-movements/{movement['id']}") == movement


async def test_stock_is_changed_by_movements_only(client: Client) -> None:
    product = await new_product(client, stock=5)
    for method in ("PATCH", "PUT"):
        await client.request(method, f"/products/{product['id']}", json=bare(product) | {"stock": 77})
    await client.patch("/products/bulk", json={"ids": [product["id"]], "changes": {"stock": 77}})
    assert await read(client, f"/products/{product['id']}") == product


def bare(product: Json) -> Json:
    return {name: product[name] for name in ("name", "slug", "sku")}


async def test_movements_of_a_bulk_are_executed_in_order(client: Client) -> None:
    product = await new_product(client, stock=5)
    steps = [-5, 3, -3, 10]
    bodies = [{"product_id": product["id"], "quantity": step} for step in steps]
    answer = await client.post("/stock-movements/bulk", json=bodies)
    assert [movement["quantity"] for movement in answer.json()] == steps
    after = await read(client, f"/products/{product['id']}")
    assert (after["stock"], after["version"]) == (10, product["version"] + 1)


async def test_a_bulk_below_zero_points_at_the_element(client: Client) -> None:
    first, second = await new_product(client, stock=5), await new_product(client, stock=5)
    steps = [(first, -5), (second, -5), (first, -1), (first, 10)]
    bodies = [{"product_id": product["id"], "quantity": step} for product, step in steps]
    answer = await client.post("/stock-movements/bulk", json=bodies)
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/2/quantity"]
    assert [await moved(client, product["id"]) for product in (first, second)] == [5, 5]
    assert await read(client, f"/products/{first['id']}") == first


async def test_a_skipping_bulk_leaves_out_movements_below_zero(client: Client) -> None:
    product = await new_product(client, stock=5)
    quantities = [(product["id"], -4), (product["id"], -2), (UNKNOWN, 1), (product["id"], -1), (product["id"], 8)]
    bodies = [{"product_id": key, "quantity": quantity} for key, quantity in quantities]
    outcome = (await client.post("/stock-movements/bulk?on_error=skip", json=bodies)).json()
    assert [movement["quantity"] for movement in outcome["created"]] == [-4, -1, 8]
    assert [failure["index"] for failure in outcome["failed"]] == [1, 2]
    assert (await read(client, f"/products/{product['id']}"))["stock"] == await moved(client, product["id"]) == 8
