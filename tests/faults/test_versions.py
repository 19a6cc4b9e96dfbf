"""Fifty concurrent changes of one row, sent by separate processes: no change is lost, and none gets a 500."""

import asyncio
from collections import Counter

from tests.faults.client import Answer, Client
from tests.faults.figures import seen
from tests.live import Server

MANY = 50


async def new_hero(port: int) -> str:
    """Create a hero. Returns its path."""
    async with Client(port) as client:
        answer = await client.send("POST", "/heroes/", {"name": "Deadpond", "secret_name": "Dive Wilson"})
    return answer.headers["location"]


async def send_once(port: int, method: str, path: str, body: object = None, **headers: str) -> Answer:
    async with Client(port) as client:
        return await client.send(method, path, body, **headers)


async def test_fifty_increments_with_if_match_are_all_applied(server: Server, engine: str) -> None:
    path, refused = await new_hero(server.port), 0

    async def increment() -> int:
        """Increment once. Returns how often another client was faster."""
        async with Client(server.port) as client:
            for attempt in range(10 * MANY):
                hero = await client.send("GET", path)
                more = {"power": hero.json()["power"] + 1}
                changed = await client.send("PATCH", path, more, If_Match=hero.headers["etag"])
                if changed.status == 200:
                    return attempt
                assert changed.status == 412
        raise AssertionError("never first")

    refused = sum(await asyncio.gather(*(increment() for _ in range(MANY))))
    hero = (await send_once(server.port, "GET", path)).json()
    assert (hero["power"], hero["version"]) == (MANY, MANY + 1)
    seen(f"increments with If-Match, {engine}", f"{MANY} clients: power {hero['power']}, {refused} × 412 on the way")


async def test_fifty_changes_without_if_match_are_all_applied(server: Server) -> None:
    path = await new_hero(server.port)
    changes = [send_once(server.port, "PATCH", path, {"power": power}) for power in range(1, MANY + 1)]
    assert Counter(answer.status for answer in await asyncio.gather(*changes)) == {200: MANY}
    assert (await send_once(server.port, "GET", path)).json()["version"] == MANY + 1


async def test_a_change_during_a_deletion_succeeds_or_is_a_404(server: Server, engine: str) -> None:
    statuses: Counter[int] = Counter()
    for _ in range(10):
        path = await new_hero(server.port)
        changes = [send_once(server.port, "PATCH", path, {"power": power}) for power in range(1, 6)]
        answers = await asyncio.gather(*changes[:2], send_once(server.port, "DELETE", path), *changes[2:])
        statuses.update(answer.status for answer in answers)
        assert (await send_once(server.port, "GET", path)).status == 404
    assert statuses.keys() <= {200, 204, 404}
    assert statuses[204] == 10
    seen(
        f"PATCH racing DELETE, {engine}", ", ".join(f"{times} × {status}" for status, times in sorted(statuses.items()))
    )
