"""The watchdog: it notices a request that occupies the event loop, and no other."""

import asyncio
from collections.abc import Awaitable, Callable
from time import thread_time

import pytest
from fastapi import FastAPI
from starlette.responses import Response

from tests.clients import client_of
from tests.watchdog import BOUND, BUSY, REFERENCE, TRACED, WATCHDOG, Watchdog

pytestmark = pytest.mark.untraced


def occupy(seconds: float) -> None:
    """Use so much processor time."""
    end = thread_time() + seconds
    while thread_time() < end:
        pass


async def block() -> Response:
    occupy(2 * TRACED * BOUND * WATCHDOG.machine)
    return Response("done")


async def take_turns() -> Response:
    for _ in range(20):
        occupy(BOUND / 2)
        await asyncio.sleep(0)
    return Response("done")


async def work_in_a_thread() -> Response:
    await asyncio.to_thread(occupy, BOUND / 2)
    return Response("done")


async def fail_after_a_turn() -> Response:
    await asyncio.sleep(0)
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("alone", "now", "slowness"),
    [(1, 0.5, 1), (1, 2, 2), (1, 500, BUSY), (2, 1.5, 1.5), (2, 3, 3), (2, 500, 2 * BUSY)],
)
def test_a_slow_or_busy_machine_may_take_longer(
    monkeypatch: pytest.MonkeyPatch, alone: float, now: float, slowness: float
) -> None:
    watchdog = Watchdog()
    watchdog.machine = alone
    monkeypatch.setattr("tests.watchdog.pace", lambda: now * REFERENCE)
    assert watchdog.slowness() == pytest.approx(slowness)


@pytest.mark.parametrize(
    ("handler", "status", "noticed"),
    [
        (block, 200, 1),
        (take_turns, 200, 0),
        (work_in_a_thread, 200, 0),
        (fail_after_a_turn, 500, 0),
    ],
)
async def test_a_request_that_occupies_the_event_loop_is_noticed(
    handler: Callable[[], Awaitable[Response]], status: int, noticed: int
) -> None:
    app = FastAPI()
    app.get("/")(handler)
    async with client_of(app) as client:
        await client.get("/nothing")  # the first request of an application may take longer
        assert (await client.get("/")).status_code == status
    seen, WATCHDOG.slow[:] = list(WATCHDOG.slow), []
    assert len(seen) == noticed
    assert all(told.startswith("GET /: ") for told in seen)
