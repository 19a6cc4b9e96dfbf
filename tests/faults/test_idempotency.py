"""Repeated requests, concurrent and across crashes, have one effect and one response."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.faults.client import Answer, Client
from tests.faults.conftest import Serve
from tests.faults.figures import seen
from tests.faults.ledger import Ledger, everything, open_ledger
from tests.faults.postgres import Postgres
from tests.live import Server

MANY = 50
REQUESTS, CLIENTS, FAULTS = 5_000, 32, 2
"""The number of requests on each engine."""
UNAVAILABLE = (503, 504)
"""The status codes after which a client repeats its request.

A 504: on a slow machine, a statement may wait for a locked row until it reaches its timeout.
"""
HERO = {"name": "Deadpond", "secret_name": "Dive Wilson"}


async def repeat_until_answered(port: int, path: str, body: object, key: str) -> Answer:
    """Repeat a request with this key until there is a response."""
    async with Client(port) as client:
        while True:
            answer = await client.send("POST", path, body, Idempotency_Key=key)
            if not is_in_flight(answer):
                return answer
            await asyncio.sleep(float(answer.headers["retry-after"]))


def is_in_flight(answer: Answer) -> bool:
    return answer.status == 409 and answer.json()["type"] == "urn:problem:in-flight"


def compared_parts(answer: Answer) -> tuple[int, bytes, str, str]:
    return answer.status, answer.body, answer.headers["location"], answer.headers["etag"]


async def test_fifty_requests_with_one_key_create_one_hero_and_get_one_response_even_after_a_crash(
    serve: Serve,
) -> None:
    server = serve()
    answers = await asyncio.gather(*(repeat_until_answered(server.port, "/heroes/", HERO, "one") for _ in range(MANY)))
    server.kill()
    await asyncio.to_thread(server.start)
    later = await asyncio.gather(*(repeat_until_answered(server.port, "/heroes/", HERO, "one") for _ in range(MANY)))
    assert len({compared_parts(answer) for answer in [*answers, *later]}) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in [*answers, *later]]
    assert sorted(replayed, key=str) == [None, *["true"] * (2 * MANY - 1)]
    assert await everything(server.port, "/heroes/") == [answers[0].json()]


def keys() -> Iterator[str]:
    """Yield keys, a third of them repeated, and half of these repeated at once."""
    used: list[str] = []
    for number in range(REQUESTS):
        if number % 3 == 2:
            yield random.choice([used[-1], random.choice(used)])
        else:
            used.append(f"movement-{number}")
            yield used[-1]


async def send_movements(ledger: Ledger, port: int, names: Iterator[str], answers: dict[str, bytes]) -> None:
    """Send the movements of one client. Each is repeated until there is a response, and all its responses are equal."""
    async with Client(port) as client:
        for name in names:
            while True:
                answer = await ledger.move(client, name, Idempotency_Key=name)
                if answer and answer.status == 201:
                    break
                assert answer is None or answer.status in UNAVAILABLE or is_in_flight(answer), answer
                await asyncio.sleep(random.uniform(0.05, 0.2))
            assert answers.setdefault(name, answer.body) == answer.body


async def crash_regularly(ledger: Ledger, server: Server, postgres: Postgres | None) -> None:
    """Crash the service, and PostgreSQL too, at regular intervals."""
    for number in range(1, FAULTS + 1):
        await ledger.reaches(REQUESTS * 2 // 3 * number // (FAULTS + 1))
        server.kill()
        await asyncio.to_thread(server.start)
        if postgres:
            await asyncio.to_thread(postgres.restart, "immediate")


async def test_five_thousand_requests_during_crashes_have_one_effect_per_key(
    serve: Serve, engine: str, request: pytest.FixtureRequest
) -> None:
    server = serve()
    postgres = request.getfixturevalue("postgres") if engine == "postgresql" else None
    ledger = await open_ledger(server.port)
    names, answers = list(keys()), dict[str, bytes]()
    asked = iter(names)
    await asyncio.gather(
        crash_regularly(ledger, server, postgres),
        *(send_movements(ledger, server.port, asked, answers) for _ in range(CLIENTS)),
    )
    stored = await ledger.check(server.port)
    assert stored == len(set(names)) == len(answers)
    told = ", ".join(f"{times} × {status}" for status, times in sorted(ledger.statuses.items(), key=str))
    seen(f"repeats amid crashes, {engine}", f"{REQUESTS} requests, {len(answers)} keys, {stored} effects ({told})")
