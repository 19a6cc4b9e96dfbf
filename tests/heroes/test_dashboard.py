"""The dashboard: totals, newest heroes and ratings, by concurrent queries, each on its own connection."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlmodel import SQLModel, func, select

from heroes import dashboard
from heroes.hero import Hero
from kit.database.databases import Database
from kit.database.errors import FAILURES, Unreachable
from kit.database.sessions import ReadSession
from kit.http.problems import Problem
from kit.operations import unit_of_work
from tests.engines import Client
from tests.heroes.concurrent_queries import ConcurrentQueries
from tests.heroes.powers import new_hero
from tests.heroes.shop import new_category, new_product, product_body
from tests.rows import Json, cheap_hashes, made, new_user, read

pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)
KEYS = {"heroes", "totals", "products_by_status", "ratings"}


async def rate(client: Client, product: Json, ratings: list[int]) -> None:
    """Create a review for each rating, each by another user, who is created if needed."""
    users = await read(client, "/users/", sort="id")
    users += [await new_user(client) for _ in range(len(ratings) - len(users))]
    reviews = [
        {"product_id": product["id"], "author_id": user["id"], "rating": rating}
        for user, rating in zip(users, ratings, strict=False)
    ]
    answer = await client.post("/reviews/bulk", json=reviews)
    assert answer.status_code == 201


async def test_the_dashboard_of_an_empty_database_has_all_parts(client: Client) -> None:
    shown = await read(client, "/dashboard")
    assert set(shown) == KEYS
    assert shown["heroes"] == shown["ratings"] == []
    assert shown["products_by_status"] == {"draft": 0, "active": 0, "archived": 0}
    assert set(shown["totals"].values()) == {0}


async def test_totals_equal_the_counts_of_the_lists(client: Client) -> None:
    user, heroes = await new_user(client), [await new_hero(client, power=5) for _ in range(3)]
    products = [await new_product(client, stock=5, category_id=(await new_category(client))["id"]) for _ in range(3)]
    await made(client, "/teams/", name="Z-Force", headquarters="Bar")
    await made(client, "/items/", name="Teapot", price=1, owner_id=user["id"])
    await made(client, "/posts/", title="Tea", body="", author_id=user["id"])
    await made(client, "/power-transfers/", from_id=heroes[0]["id"], to_id=heroes[1]["id"], amount=1)
    await made(client, "/stock-transfers/", source_id=products[0]["id"], target_id=products[1]["id"], quantity=1)
    await rate(client, products[0], [4])
    await rate(client, products[2], [5])
    await client.delete(f"/products/{products[2]['id']}")
    totals = (await read(client, "/dashboard"))["totals"]
    assert (totals["heroes"], totals["products"], totals["reviews"]) == (3, 2, 1)
    for name, total in totals.items():
        listed = await client.get(f"/{name.replace('_', '-')}/?count=true")
        assert (name, listed.headers["X-Total-Count"]) == (name, str(total))


async def test_the_newest_ten_heroes_come_first(client: Client) -> None:
    heroes = [await new_hero(client) for _ in range(12)]
    assert (await read(client, "/dashboard"))["heroes"] == heroes[:1:-1]


async def test_products_are_counted_by_status_without_deleted_ones(client: Client) -> None:
    bodies = [product_body(status=status) for status in ("draft", "active", "active", "active")]
    products = (await client.post("/products/bulk", json=bodies)).json()
    await client.delete(f"/products/{products[-1]['id']}")
    assert (await read(client, "/dashboard"))["products_by_status"] == {"draft": 1, "active": 2, "archived": 0}


AVERAGES = (
    ([1, 2, 2], 1.67),
    ([1, 1, 2], 1.33),
    ([4, 5, 5, 4, 4, 4, 4, 4], 4.25),
    ([1, 1, 1, 1, 1, 1, 1, 2], 1.13),
    ([1, 1, 1, 1, 1, 2, 2, 2], 1.38),
    ([5, 5, 5, 5, 5, 5, 5, 4], 4.88),
    ([3], 3),
    ([1, 2], 1.5),
)


@pytest.mark.parametrize(("ratings", "average"), AVERAGES)
async def test_an_average_is_exact_to_two_decimals_half_up(client: Client, ratings: list[int], average: float) -> None:
    product = await new_product(client)
    await rate(client, product, ratings)
    shown = {"product_id": product["id"], "average": average, "number": len(ratings)}
    assert (await read(client, "/dashboard"))["ratings"] == [shown]
    overview = await read(client, f"/products/{product['id']}/overview")
    assert overview["statistics"]["average"] == average


async def test_ratings_show_the_ten_best_products_that_are_not_deleted(client: Client) -> None:
    products = [await new_product(client) for _ in range(13)]
    ratings = [[1], [5, 4], [4, 5, 5, 4], [5], [3, 3], [3], [2], [2, 2], [3, 4], [4, 4], [1, 1], [4], [5, 5]]
    for product, given in zip(products, ratings, strict=True):
        await rate(client, product, given)
    await client.delete(f"/products/{products[12]['id']}")
    shown = [one["product_id"] for one in (await read(client, "/dashboard"))["ratings"]]
    assert shown == [products[place]["id"] for place in (3, 2, 1, 9, 11, 8, 4, 5, 7, 6)]


async def test_the_queries_of_the_dashboard_run_concurrently_each_on_its_own_connection(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new_hero(client)
    alone = await read(client, "/dashboard")
    with ConcurrentQueries(database, monkeypatch, 4) as at_the_same_time:
        assert await read(client, "/dashboard") == alone
    assert len(at_the_same_time.connections) == 4


async def test_more_concurrent_dashboards_than_connections_all_succeed(client: Client) -> None:
    answers = await asyncio.gather(*(client.get("/dashboard") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("part", ["newest", "totals", "products_by_status", "ratings"])
async def test_a_failing_query_is_reported_as_one_failure(
    client: Client, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    async def fail(_: ReadSession) -> None:
        raise Unreachable("no database")

    await client.get("/dashboard")  # opens the connections before, so that none is cancelled while it is opened
    monkeypatch.setattr(dashboard, part, fail)
    monkeypatch.setattr(unit_of_work, "READ_SECONDS", 0)
    answer = await client.get("/dashboard")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "no database" not in answer.text
    monkeypatch.undo()
    assert (await client.get("/dashboard")).status_code == 200


async def test_a_failing_query_cancels_the_others_and_is_raised(database: Database) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_: ReadSession) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fail(_: ReadSession) -> None:
        await waiting.wait()
        raise Problem(404, "The resource does not exist.", kind="not-found")

    with pytest.raises(Problem, match="does not exist"):
        await database.read().gather(wait, fail, wait)
    assert cancelled.is_set()


async def test_a_failing_statement_cancels_the_running_statements(database: Database) -> None:
    async def fail(session: ReadSession) -> Any:
        return (await session.exec(select(func.no_such_function()))).all()

    with pytest.raises(FAILURES, match="no_such_function"):
        await database.read().gather(dashboard.totals, fail, dashboard.ratings)
    assert await database.read().gather(dashboard.newest) == [[]]


async def test_cancelling_gather_cancels_its_queries(database: Database) -> None:
    started, cancelled = asyncio.Barrier(3), []

    async def wait(_: ReadSession) -> None:
        await started.wait()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    whole = asyncio.create_task(database.read().gather(wait, wait))
    await started.wait()
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert len(cancelled) == 2


async def test_the_dashboard_works_with_the_single_connection_of_a_database_in_memory() -> None:
    database = Database(make_url("sqlite+aiosqlite://"))
    async with database.writer.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with database.write() as session, session.begin():
        session.add(Hero(name="Deadpond", secret_name="Dive Wilson"))
    parts = (dashboard.newest, dashboard.totals, dashboard.products_by_status, dashboard.ratings)
    for _ in range(3):
        ((hero,), totals, *_rest) = await database.read().gather(*parts)
        assert (hero.name, totals["heroes"]) == ("Deadpond", 1)
    await database.dispose()


async def test_heroes_of_the_dashboard_equal_those_of_the_list(client: Client) -> None:
    hero = await client.post("/heroes/", json={"name": "Deadpond", "secret_name": "Dive Wilson"})
    (shown,) = (await client.get("/dashboard")).json()["heroes"]
    assert list(shown.items()) == list(hero.json().items())
