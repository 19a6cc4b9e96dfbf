"""Bulks at the same time with equal unique values: all get through, in about the time that they need one by one."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.client import Answer, Client
from tests.faults.figures import seen
from tests.live import Server

SECONDS = 10
"""The maximum time for all requests, in seconds. Without key order they deadlock, and fail after 8 s or more."""
Bodies = Callable[[str, int, random.Random], list[dict[str, Any]]]


def teams(tag: str, number: int, order: random.Random) -> list[dict[str, Any]]:
    """Return teams with one unique key."""
    bodies = [{"name": f"{tag} {place}", "headquarters": "Earth"} for place in range(number)]
    order.shuffle(bodies)
    return bodies


def categories(tag: str, number: int, order: random.Random) -> list[dict[str, Any]]:
    """Return categories with two unique keys, for which no common order exists."""
    slugs = [f"{tag}-{place}" for place in range(number)]
    order.shuffle(slugs)
    bodies = [{"name": f"{tag} {place}", "slug": slug} for place, slug in enumerate(slugs)]
    order.shuffle(bodies)
    return bodies


async def store(port: int, path: str, bodies: list[dict[str, Any]]) -> Answer:
    async with Client(port) as client:
        return await client.send("POST", f"{path}bulk?on_error=skip", bodies)


@pytest.mark.parametrize(("clients", "number"), [(20, 200), (3, 101)])
@pytest.mark.parametrize(("path", "bodies"), [("/teams/", teams), ("/categories/", categories)])
async def test_bulks_with_equal_keys_all_get_through(
    server: Server, engine: str, path: str, bodies: Bodies, clients: int, number: int
) -> None:
    order, tag = random.Random(1), secrets.token_hex(4)
    started = time.monotonic()
    batches = [bodies(tag, number, order) for _ in range(clients)]
    answers = await asyncio.gather(*(store(server.port, path, batch) for batch in batches))
    seconds = time.monotonic() - started
    assert {answer.status for answer in answers} == {207}
    created = [thing for answer in answers for thing in answer.json()["created"]]
    assert len({thing["name"] for thing in created}) == len(created)
    if path == "/teams/":
        assert len(created) == number
    assert seconds < SECONDS
    seen(f"{clients} bulks of {number} equal {path.strip('/')}, {engine}", f"all answered within {seconds:.1f} s")


async def test_a_thousand_bad_references_are_reported_soon(server: Server, engine: str) -> None:
    heroes = [{"name": "A", "secret_name": "B", "team_id": 10**6 + number} for number in range(1000)]
    answer = await store(server.port, "/heroes/", heroes)
    assert len(answer.json()["failed"]) == len(heroes)
    assert answer.seconds < 2
    seen(f"1,000 elements with a bad reference, {engine}", f"reported after {answer.seconds:.2f} s")
