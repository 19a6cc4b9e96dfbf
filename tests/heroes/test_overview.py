"""The product overview: product, newest reviews and statistics, by concurrent queries."""

import asyncio
from typing import Any

import pytest

from heroes import overview
from kit.database.databases import Database
from kit.database.errors import Unreachable
from kit.operations import unit_of_work
from tests.engines import Client
from tests.heroes.concurrent_queries import ConcurrentQueries
from tests.heroes.served import needs
from tests.heroes.shop import new_product
from tests.rows import UNKNOWN, Json, cheap_hashes, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


async def overview_of(client: Client, product: Json) -> Any:
    return await read(client, f"/products/{product['id']}/overview")


async def review(client: Client, product: Json, *ratings: int) -> list[Json]:
    bodies = [
        {"product_id": product["id"], "author_id": (await new_user(client))["id"], "rating": rating}
        for rating in ratings
    ]
    reviews: list[Json] = (await client.post("/reviews/bulk", json=bodies)).json()
    return reviews


@needs("/stock-movements/")
async def test_a_product_without_reviews_has_no_average(client: Client) -> None:
    product = await new_product(client, stock=5)
    nothing = {"number": 0, "average": None, "ratings": {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}}
    assert await overview_of(client, product) == {"product": product, "reviews": [], "statistics": nothing}


async def test_reviews_are_counted_by_rating_and_the_newest_ten_are_shown(client: Client) -> None:
    product, other = await new_product(client), await new_product(client)
    reviews = await review(client, product, 1, 1, 5, 5, 5, 4, 3, 5, 5, 5, 5, 5)
    await review(client, other, 1, 2)
    shown = await overview_of(client, product)
    assert shown["product"] == product
    assert shown["reviews"] == reviews[:1:-1]
    ratings = {"1": 2, "2": 0, "3": 1, "4": 1, "5": 8}
    assert shown["statistics"] == {"number": 12, "average": 4.08, "ratings": ratings}


@needs("/products/{product_id}/deletion")
async def test_an_unknown_or_deleted_product_has_no_overview(client: Client) -> None:
    product = await new_product(client)
    await review(client, product, 5)
    path = f"/products/{product['id']}"
    assert (await client.get(f"/products/{UNKNOWN}/overview")).status_code == 404
    await client.delete(path)
    assert (await client.get(f"{path}/overview")).status_code == 404
    await client.delete(f"{path}/deletion")
    assert (await overview_of(client, product))["statistics"]["number"] == 1


async def test_an_overview_takes_no_parameters_and_a_valid_id(client: Client) -> None:
    product = await new_product(client)
    assert (await client.get("/products/7/overview")).status_code == 422
    assert (await client.get(f"/products/{product['id']}/overview?deleted=true")).status_code == 422
    assert (await client.post(f"/products/{product['id']}/overview")).status_code == 405


async def test_the_queries_of_an_overview_run_concurrently_each_on_its_own_connection(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = await new_product(client)
    await review(client, product, 5)
    alone = await overview_of(client, product)
    with ConcurrentQueries(database, monkeypatch, 3) as at_the_same_time:
        assert await overview_of(client, product) == alone
    assert (
        len(at_the_same_time.connections) >= 2
    )  # the product is read without the ORM, and its connection is free again at once


async def test_a_failing_query_is_reported_as_one_failure(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise Unreachable("no database")

    product = await new_product(client)
    await overview_of(client, product)  # opens the connections before, so that none is cancelled while it is opened
    monkeypatch.setattr(overview, "statistics_of", fail)
    monkeypatch.setattr(unit_of_work, "READ_SECONDS", 0)
    answer = await client.get(f"/products/{product['id']}/overview")
    assert answer.status_code == 503
    assert "no database" not in answer.text


async def test_more_concurrent_overviews_than_connections_all_succeed(client: Client) -> None:
    product = await new_product(client)
    answers = await asyncio.gather(*(client.get(f"/products/{product['id']}/overview") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
