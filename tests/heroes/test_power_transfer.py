"""Power transfers: the total power stays the same, and each hero's power stays within its bounds."""

import asyncio
import random
from typing import Any

import pytest

from heroes.hero import MAX_POWER
from kit.database.databases import Database
from tests.engines import Client
from tests.heroes.powers import new_hero
from tests.rows import Json, made, read
from tests.statements import statements_of


def transfer_body(giver: Json, taker: Json, amount: Any = 1) -> Json:
    return {"from_id": giver["id"], "to_id": taker["id"], "amount": amount}


async def powers(client: Client) -> list[int]:
    return [hero["power"] for hero in await read(client, "/heroes/")]


async def test_a_transfer_moves_power_between_two_heroes(client: Client) -> None:
    giver, taker = await new_hero(client, power=70), await new_hero(client, power=5)
    transfer = await made(client, "/power-transfers/", **transfer_body(giver, taker, 70))
    assert await powers(client) == [0, 75]
    assert [hero["version"] for hero in await read(client, "/heroes/")] == [2, 2]
    assert await read(client, f"/power-transfers/{transfer['id']}") == transfer


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_transfers_keep_the_total_power(client: Client, seed: int) -> None:
    generator = random.Random(seed)
    heroes = [await new_hero(client, power=20) for _ in range(4)]
    pairs = [generator.sample(heroes, 2) for _ in range(32)]
    transfer_bodies = [transfer_body(giver, taker, generator.randint(1, 15)) for giver, taker in pairs]
    answers = await asyncio.gather(*(client.post("/power-transfers/", json=one) for one in transfer_bodies))
    assert {answer.status_code for answer in answers} == {201, 409}
    left = await powers(client)
    assert sum(left) == 80
    assert min(left) >= 0
    done = [answer.json() for answer in answers if answer.status_code == 201]
    assert len(await read(client, "/power-transfers/")) == len(done)
    for hero, power in zip(heroes, left, strict=True):
        taken = sum(one["amount"] for one in done if one["to_id"] == hero["id"])
        given = sum(one["amount"] for one in done if one["from_id"] == hero["id"])
        assert power == 20 + taken - given


async def test_concurrent_opposite_transfers_do_not_deadlock(client: Client, database: Database) -> None:
    """A deadlock would be retried, which a second UPDATE would show."""
    one, other = [await new_hero(client, power=20) for _ in range(2)]
    transfer_bodies = [transfer_body(one, other), transfer_body(other, one)] * 20
    with statements_of(database.writer) as statements:
        answers = await asyncio.gather(*(client.post("/power-transfers/", json=each) for each in transfer_bodies))
    assert {answer.status_code for answer in answers} == {201}
    assert sum("UPDATE hero" in statement for statement in statements) == 40
    assert await powers(client) == [20, 20]


@pytest.mark.parametrize(("has", "room"), [(4, MAX_POWER), (MAX_POWER, 4)])
async def test_a_transfer_beyond_the_bounds_of_power_is_a_conflict(client: Client, has: int, room: int) -> None:
    giver, taker = await new_hero(client, power=has), await new_hero(client, power=MAX_POWER - room)
    answer = await client.post("/power-transfers/", json=transfer_body(giver, taker, 5))
    assert answer.status_code == 409
    assert "power" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "#/amount"
    assert await read(client, "/heroes/") == [giver, taker]
    assert await read(client, "/power-transfers/") == []


async def test_a_transfer_to_the_same_hero_is_refused(client: Client) -> None:
    hero = await new_hero(client, power=70)
    answer = await client.post("/power-transfers/", json=transfer_body(hero, hero))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/to_id"]


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1", True, None, MAX_POWER + 1])
async def test_an_amount_is_an_integer_of_at_least_1(client: Client, amount: Any) -> None:
    giver, taker = [await new_hero(client, power=70) for _ in range(2)]
    answer = await client.post("/power-transfers/", json=transfer_body(giver, taker, amount))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/amount"]


@pytest.mark.parametrize("field", ["from_id", "to_id"])
async def test_an_unknown_hero_is_a_conflict_that_names_the_field(client: Client, field: str) -> None:
    giver, taker = [await new_hero(client, power=70) for _ in range(2)]
    answer = await client.post("/power-transfers/", json=transfer_body(giver, taker) | {field: 77})
    assert answer.status_code == 409
    assert field in answer.json()["detail"]
    assert await powers(client) == [70, 70]


async def test_transfers_of_a_bulk_are_executed_in_order(client: Client) -> None:
    first, second, third = [await new_hero(client, power=power) for power in (5, 0, 0)]
    chain = [transfer_body(first, second, 5), transfer_body(second, third, 4)]
    answer = await client.post(
        "/power-transfers/bulk", json=[*chain, transfer_body(second, third, 2), transfer_body(third, second, 4)]
    )
    assert answer.status_code == 409
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/2/amount"]
    assert await powers(client) == [5, 0, 0]
    assert (await client.post("/power-transfers/bulk", json=chain)).status_code == 201
    assert await powers(client) == [0, 1, 4]


async def test_a_transfer_cannot_be_changed_or_deleted(client: Client) -> None:
    giver, taker = [await new_hero(client, power=70) for _ in range(2)]
    path = f"/power-transfers/{(await made(client, '/power-transfers/', **transfer_body(giver, taker)))['id']}"
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await client.request(method, path, json=transfer_body(giver, taker))).status_code == 405


async def test_concurrent_transfers_and_changes_of_the_same_heroes_all_succeed(client: Client) -> None:
    one, other = [await new_hero(client, power=20) for _ in range(2)]
    transfer_bodies = [
        client.post("/power-transfers/", json=each)
        for each in [transfer_body(one, other), transfer_body(other, one)] * 8
    ]
    changes = [client.patch(f"/heroes/{hero['id']}", json={"age": age}) for age in range(8) for hero in (one, other)]
    statuses = {answer.status_code for answer in await asyncio.gather(*transfer_bodies, *changes)}
    assert statuses == {200, 201}
    assert await powers(client) == [20, 20]
