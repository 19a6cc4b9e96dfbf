"""Admission: a bounded number of requests at the same time; as many more wait for a short time; others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx import Response
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from kit.server import admission
from kit.server.admission import Admission
from tests.engines import Client
from tests.kit.probes import PATIENCE

LIMIT = 2


class Inside:
    """An application whose requests wait until the test releases one. `/fail` fails at once."""

    def __init__(self) -> None:
        self.entered, self.gone = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise RuntimeError("It failed.")
        if scope["path"].startswith("/work"):
            self.entered.release()
            await self.gone.acquire()
        await PlainTextResponse("done")(scope, receive, send)


class House:
    """The requests of an application that admits two at the same time."""

    def __init__(self, client: Client, inside: Inside, door: Admission) -> None:
        self.client, self.inside, self.door = client, inside, door

    async def enter(self, number: int = 1) -> list["asyncio.Task[Response]"]:
        """Start requests, and wait until they are admitted."""
        tasks = [self.ask() for _ in range(number)]
        async with asyncio.timeout(PATIENCE):
            for _ in tasks:
                await self.inside.entered.acquire()
        return tasks

    async def wait(self, number: int) -> list["asyncio.Task[Response]"]:
        """Start requests, and wait until they are waiting."""
        tasks, before = [self.ask() for _ in range(number)], self.door.places.waiting
        async with asyncio.timeout(PATIENCE):
            while self.door.places.waiting < before + number:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
        return tasks

    def ask(self) -> "asyncio.Task[Response]":
        return asyncio.create_task(self.client.get("/work"))

    def let_go(self, number: int = 1) -> None:
        for _ in range(number):
            self.inside.gone.release()


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", PATIENCE)
    inside = Inside()
    door = Admission(with_id(inside), LIMIT)
    async with asking(with_id(door)) as client:
        yield House(client, inside, door)


def with_id(app: Any) -> Any:
    """The application, called with request ids in the scope."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["request_id"] = "mine"
        await app(scope, receive, send)

    return call


@asynccontextmanager
async def asking(app: Any) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def assert_refused(answer: Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["outcome"] == "not_applied"


async def test_a_request_is_refused_at_once_if_all_places_and_the_queue_are_full(house: House) -> None:
    inside, waiting = await house.enter(LIMIT), await house.wait(LIMIT)
    assert_refused(await asyncio.wait_for(house.ask(), PATIENCE / 2))  # while the others are still waiting
    assert not any(task.done() for task in (*inside, *waiting))
    house.let_go(2 * LIMIT)
    assert {(await task).status_code for task in (*inside, *waiting)} == {200}


async def test_a_waiting_request_is_served_when_a_place_is_free(house: House) -> None:
    inside, (waiting, *_) = await house.enter(LIMIT), await house.wait(1)
    house.let_go()
    async with asyncio.timeout(PATIENCE):
        await house.inside.entered.acquire()
    assert house.door.places.waiting == 0
    house.let_go(LIMIT)
    assert {(await task).status_code for task in (*inside, waiting)} == {200}


async def test_a_request_that_has_waited_too_long_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", 0.01)
    inside = await house.enter(LIMIT)
    for _ in range(2 * LIMIT):
        assert_refused(await house.ask())
    house.let_go(LIMIT)
    await asyncio.gather(*inside)
    assert house.door.places.waiting == 0
    (again,) = await house.enter()
    house.let_go()
    assert (await again).status_code == 200


async def test_a_waiting_client_that_disconnects_frees_its_place_in_the_queue(house: House) -> None:
    inside, (first, second) = await house.enter(LIMIT), await house.wait(LIMIT)
    first.cancel()
    await asyncio.wait([first])
    (third,) = await house.wait(1)
    house.let_go(2 * LIMIT)
    assert {(await task).status_code for task in (*inside, second, third)} == {200}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_paths_of_operators_are_never_refused(house: House, path: str) -> None:
    inside, waiting = await house.enter(LIMIT), await house.wait(LIMIT)
    assert (await house.client.get(path)).text == "done"
    house.let_go(2 * LIMIT)
    await asyncio.gather(*inside, *waiting)


async def test_a_place_is_free_again_after_a_failure(house: House) -> None:
    for _ in range(2 * LIMIT):
        assert (await house.client.get("/fail")).status_code == 500
    tasks = await house.enter(LIMIT)
    house.let_go(LIMIT)
    await asyncio.gather(*tasks)


async def test_a_place_is_free_again_after_a_cancellation(house: House) -> None:
    tasks = await house.enter(LIMIT)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    others = await house.enter(LIMIT)
    house.let_go(LIMIT)
    assert {(await task).status_code for task in others} == {200}


async def test_a_lifespan_needs_no_place() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def silent(*_: Any) -> Any:
        return {}

    door = Admission(inner, LIMIT)
    for _ in range(2 * LIMIT):
        await door({"type": "lifespan"}, silent, silent)
    assert seen == ["lifespan"] * 2 * LIMIT
