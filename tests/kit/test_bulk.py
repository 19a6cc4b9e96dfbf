"""How many are made at once: in few statements, all or nothing, or each on its own; failures point at the element."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from heroes.team import Team, TeamCreate
from kit.database.databases import Database
from kit.database.writing import WriteSession
from kit.http.problems import Problem
from kit.models.entities import Entity
from kit.operations.bulk import Make, adding, create_many
from tests.conftest import Client
from tests.shop import (
    UNKNOWN,
    Json,
    cheap_hashes,
    made,
    new_category,
    new_hero,
    new_product,
    new_user,
    product_body,
    read,
)
from tests.statements import statements_of

THOUSAND = 1000
pytestmark = pytest.mark.usefixtures(cheap_hashes.__name__)


def team(name: str, **fields: Any) -> Json:
    return {"name": name, "headquarters": "Sharp Tower"} | fields


def teams(number: int) -> list[Json]:
    return [team(f"Team {place}") for place in range(number)]


async def bodies_of_teams(_: Client) -> list[Json]:
    return teams(THOUSAND)


async def bodies_of_heroes(client: Client) -> list[Json]:
    joined = await made(client, "/teams/", **team("Z-Force"))
    return [{"name": f"H{place}", "secret_name": "S", "team_id": joined["id"]} for place in range(THOUSAND)]


async def bodies_of_items(client: Client) -> list[Json]:
    owner = await new_user(client)
    return [{"name": "Teapot", "price": f"{place}.50", "owner_id": owner["id"]} for place in range(THOUSAND)]


async def bodies_of_posts(client: Client) -> list[Json]:
    authors = [await new_user(client) for _ in range(3)]
    return [
        {"title": f"On teapots {place}", "body": "Short.", "author_id": authors[place % 3]["id"]}
        for place in range(THOUSAND)
    ]


async def bodies_of_categories(_: Client) -> list[Json]:
    return [{"name": f"Room {place}", "slug": f"room-{place}"} for place in range(THOUSAND)]


async def bodies_of_products(client: Client) -> list[Json]:
    category, user = await new_category(client), await new_user(client)
    return [product_body(category_id=category["id"], created_by_id=user["id"]) for _ in range(THOUSAND)]


async def bodies_of_reviews(client: Client) -> list[Json]:
    author = await new_user(client)
    answer = await client.post("/products/bulk", json=[product_body() for _ in range(THOUSAND)])
    return [{"product_id": product["id"], "author_id": author["id"], "rating": 5} for product in answer.json()]


async def bodies_of_movements(client: Client) -> list[Json]:
    products = [await new_product(client) for _ in range(3)]
    return [{"product_id": products[place % 3]["id"], "quantity": place + 1} for place in range(THOUSAND)]


async def bodies_of_stock_transfers(client: Client) -> list[Json]:
    products = [await new_product(client, stock=10 * THOUSAND) for _ in range(3)]
    pairs = [(products[place % 3]["id"], products[(place + 1) % 3]["id"]) for place in range(THOUSAND)]
    return [
        {"source_id": source, "target_id": target, "quantity": place % 7 + 1}
        for place, (source, target) in enumerate(pairs)
    ]


async def bodies_of_power_transfers(client: Client) -> list[Json]:
    heroes = [await new_hero(client, power=10 * THOUSAND) for _ in range(3)]
    pairs = [(heroes[place % 3]["id"], heroes[(place + 1) % 3]["id"]) for place in range(THOUSAND)]
    return [
        {"from_id": source, "to_id": target, "amount": place % 7 + 1} for place, (source, target) in enumerate(pairs)
    ]


THOUSANDS: dict[str, Callable[[Client], Awaitable[list[Json]]]] = {
    "/teams/": bodies_of_teams,
    "/heroes/": bodies_of_heroes,
    "/items/": bodies_of_items,
    "/posts/": bodies_of_posts,
    "/categories/": bodies_of_categories,
    "/products/": bodies_of_products,
    "/reviews/": bodies_of_reviews,
    "/stock-movements/": bodies_of_movements,
    "/stock-transfers/": bodies_of_stock_transfers,
    "/power-transfers/": bodies_of_power_transfers,
}


def said(thing: Json, body: Json) -> Json:
    """Of this thing, the fields that the body gave."""
    return {name: thing[name] for name in body}


@pytest.mark.parametrize("path", THOUSANDS)
async def test_a_thousand_are_made_in_few_statements_and_answered_in_order(
    client: Client, database: Database, path: str
) -> None:
    bodies = await THOUSANDS[path](client)
    with statements_of(database.writer) as statements:
        answer = await client.post(f"{path}bulk", json=bodies)
    assert answer.status_code == 201, answer.text
    control = ("BEGIN", "SAVEPOINT", "RELEASE")
    assert len([statement for statement in statements if not statement.startswith(control)]) <= 5
    assert [said(thing, body) for thing, body in zip(answer.json(), bodies, strict=True)] == bodies
    ids = [thing["id"] for thing in answer.json()]
    assert ids == sorted(ids)
    first, last = answer.json()[0], answer.json()[-1]
    assert [await read(client, f"{path}{one['id']}") for one in (first, last)] == [first, last]


@pytest.mark.parametrize("number", [0, THOUSAND + 1])
@pytest.mark.parametrize("on_error", ["abort", "skip"])
async def test_none_and_more_than_a_thousand_are_refused(client: Client, number: int, on_error: str) -> None:
    answer = await client.post(f"/teams/bulk?on_error={on_error}", json=teams(number))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#"]
    assert await read(client, "/teams/") == []


@pytest.mark.parametrize("body", [{}, team("Z-Force"), "teams", 5, None])
async def test_what_is_no_array_is_refused(client: Client, body: Any) -> None:
    answer = await client.post("/teams/bulk", json=body)
    assert answer.status_code == 422
    assert await read(client, "/teams/") == []


async def test_one_that_is_taken_takes_all_of_them_down_and_is_pointed_at(client: Client) -> None:
    await made(client, "/teams/", **team("Team 17"))
    answer = await client.post("/teams/bulk", json=teams(30))
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/17/name"]
    assert "name" in answer.json()["detail"]
    assert len(await read(client, "/teams/")) == 1


async def test_two_of_one_name_in_one_bulk_point_at_the_second(client: Client) -> None:
    answer = await client.post("/teams/bulk", json=[*teams(3), team("Team 1"), team("Team 9")])
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/3/name"]
    assert await read(client, "/teams/") == []


async def test_one_that_refers_to_nothing_is_pointed_at(client: Client) -> None:
    bodies = [{"name": "H", "secret_name": "S"}, {"name": "H", "secret_name": "S", "team_id": 77}]
    answer = await client.post("/heroes/bulk", json=bodies)
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/1/team_id"]
    assert await read(client, "/heroes/") == []


async def test_all_that_is_invalid_is_listed_by_element_and_field(client: Client) -> None:
    bodies = [team("A"), team(" "), team("B", rank=1), team("C", headquarters=None), {}, 5, team("D", id=7)]
    answer = await client.post("/teams/bulk", json=bodies)
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert sorted(pointers) == ["#/1/name", "#/2/rank", "#/3/headquarters", "#/4/headquarters", "#/4/name", "#/5"]
    assert await read(client, "/teams/") == []


async def test_of_very_many_invalid_elements_a_part_is_listed(client: Client) -> None:
    answer = await client.post("/teams/bulk", json=[{}] * THOUSAND)
    assert answer.status_code == 422
    assert 0 < len(answer.json()["errors"]) <= 100


async def test_skipping_makes_what_can_be_made_and_tells_the_rest(client: Client) -> None:
    await made(client, "/teams/", **team("Taken"))
    bodies = [team("A"), team("Taken"), team("B"), team("A"), {"name": "C"}, team("D"), 5]
    answer = await client.post("/teams/bulk?on_error=skip", json=bodies)
    assert answer.status_code == 200
    created, failed = answer.json()["created"], answer.json()["failed"]
    assert set(answer.json()) == {"created", "failed"}
    assert [one["name"] for one in created] == ["A", "B", "D"]
    assert [(one["index"], one["problem"]["status"]) for one in failed] == [(1, 409), (3, 409), (4, 422), (6, 422)]
    assert [one["name"] for one in await read(client, "/teams/", sort="id")] == ["Taken", "A", "B", "D"]
    assert (await read(client, "/teams/", sort="id"))[1:] == created


async def test_what_is_skipped_has_a_whole_problem(client: Client) -> None:
    bodies = [team("A"), team("A"), {"name": " ", "rank": 1}]
    answer = await client.post("/teams/bulk?on_error=skip", json=bodies)
    taken, invalid = [one["problem"] for one in answer.json()["failed"]]
    members = {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    assert set(taken) == set(invalid) == members
    assert (taken["type"], taken["title"], taken["detail"].split()[0]) == ("urn:problem:taken", "Conflict", "name")
    assert taken["request_id"] == invalid["request_id"] == answer.headers["X-Request-ID"]
    assert [error["pointer"] for error in taken["errors"]] == ["#/1/name"]
    pointers = {error["pointer"] for error in invalid["errors"]}
    assert pointers == {"#/2/name", "#/2/headquarters", "#/2/rank"}


async def test_when_all_fail_skipping_makes_nothing(client: Client) -> None:
    answer = await client.post("/teams/bulk?on_error=skip", json=[{}, {}])
    assert answer.status_code == 200
    assert answer.json()["created"] == []
    assert [one["index"] for one in answer.json()["failed"]] == [0, 1]


async def test_when_none_fails_skipping_makes_all_in_order(client: Client) -> None:
    answer = await client.post("/teams/bulk?on_error=skip", json=teams(100))
    assert [one["name"] for one in answer.json()["created"]] == [one["name"] for one in teams(100)]
    assert answer.json()["failed"] == []


@pytest.mark.parametrize("on_error", ["", "Skip", "other", "true"])
async def test_another_way_to_go_on_is_unknown(client: Client, on_error: str) -> None:
    answer = await client.post("/teams/bulk", params={"on_error": on_error}, json=teams(1))
    assert answer.status_code == 422
    assert [(error["in"], error["pointer"]) for error in answer.json()["errors"]] == [("query", "on_error")]
    assert await read(client, "/teams/") == []


async def test_aborting_can_be_asked_for_by_name(client: Client) -> None:
    answer = await client.post("/teams/bulk?on_error=abort", json=teams(2))
    assert answer.status_code == 201


async def test_products_that_fail_are_skipped_with_what_depends_on_the_database(client: Client) -> None:
    taken = await new_product(client)
    bodies = [product_body(), product_body(slug=taken["slug"]), product_body(category_id=UNKNOWN), product_body()]
    outcome = (await client.post("/products/bulk?on_error=skip", json=bodies)).json()
    assert [one["sku"] for one in outcome["created"]] == [bodies[0]["sku"], bodies[3]["sku"]]
    assert [one["problem"]["type"] for one in outcome["failed"]] == [
        "urn:problem:taken",
        "urn:problem:missing-reference",
    ]
    assert len(await read(client, "/products/")) == 3


async def test_posts_that_are_not_skipped_come_with_their_author(client: Client) -> None:
    author = await new_user(client)
    post = {"title": "On teapots", "body": "Short.", "author_id": author["id"]}
    outcome = (await client.post("/posts/bulk?on_error=skip", json=[post, post | {"author_id": 77}, post])).json()
    assert [one["author"]["username"] for one in outcome["created"]] == [author["username"]] * 2
    assert [one["index"] for one in outcome["failed"]] == [1]


async def test_many_bulks_at_once_with_names_in_common_never_get_a_part_through(client: Client) -> None:
    batches = [[team(f"{name} {place}") for name in "ABC"] for place in range(5)]
    common = [[*batch, team("Common")] for batch in batches]
    answers = await asyncio.gather(*(client.post("/teams/bulk", json=batch) for batch in common))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert len(await read(client, "/teams/")) == 4
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert [problem["errors"][0]["pointer"] for problem in refused] == ["#/3/name"] * 4


def failing_once(failure: Exception) -> Make[Any]:
    """Makes teams, but fails the first time."""
    failures = [failure]

    async def make(session: WriteSession, elements: Sequence[Any]) -> Sequence[Entity]:
        if failures:
            raise failures.pop()
        return await adding(Team)(session, elements)

    return make


async def test_what_was_in_the_way_and_has_gone_is_in_nobodys_way(database: Database) -> None:
    new = [TeamCreate(name=name, headquarters="Here") for name in ("A", "B")]
    async with database.write() as session:
        rows = await create_many(session, new, "abort", failing_once(Problem(409, "", kind="taken")))
        assert isinstance(rows, list)
        assert [row.id for row in rows] == [1, 2]


async def test_a_failure_that_concerns_them_all_is_no_elements_fault(database: Database) -> None:
    async with database.write() as session:
        with pytest.raises(OSError, match="gone"):
            await create_many(
                session, [TeamCreate(name="A", headquarters="Here")], "skip", failing_once(OSError("gone"))
            )
