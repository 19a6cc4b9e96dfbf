"""Rate limits: the requests of a user, and of an address without a token, per minute; then a 429."""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Response
from limits.errors import StorageError
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from kit import RateLimits
from kit.http.fairness import Caller
from kit.http.problems import Problem
from kit.server import admission, rate_limits
from kit.server.admission import Admission
from kit.server.rate_limits import Policy
from tests.clients import client_of
from tests.kit.test_login_limits import redis_beside

TOKEN = "Bearer known"  # noqa: S105  not a secret


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("done")(scope, receive, send)


def door(**rates: int) -> Admission:
    limits = RateLimits("memory://", **{"per_user": 0, "per_address": 0} | rates)
    return Admission(inside, 100, known={TOKEN.encode(): 7}, rates=limits)


async def ask(app: Any, number: int = 1, *, address: str = "10.0.0.1", token: str = "", path: str = "/") -> Response:
    """Send `number` requests, and return the last response."""
    async with client_of(app, address=address) as client:
        headers = {"Authorization": token} if token else {}
        return [await client.get(path, headers=headers) for _ in range(number)][-1]


async def statuses(limits: RateLimits, caller: Caller, number: int) -> list[bool]:
    """Send `number` concurrent requests, and return whether each is admitted."""

    async def is_admitted() -> bool:
        try:
            await limits.admit(caller)
        except Problem:
            return False
        return True

    return await asyncio.gather(*(is_admitted() for _ in range(number)))


@pytest.fixture(autouse=True)
def _without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "DELAY_SECONDS", 0)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """Stop the clock (`time.time`), and provide the current time in seconds."""
    moment = time.time()
    monkeypatch.setattr(time, "time", lambda: moment)
    return moment


@pytest.mark.usefixtures("now")
async def test_every_answer_announces_the_quota_and_what_remains_of_it() -> None:
    app = door(per_address=50)
    answer = await ask(app, 3)
    assert (answer.status_code, answer.headers["RateLimit-Policy"]) == (200, '"address";q=50;w=60')
    assert answer.headers["RateLimit"] == '"address";r=47;t=60'


async def test_a_request_over_the_quota_is_a_429_until_the_window_ends(
    now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = door(per_address=5)
    assert (await ask(app, 5)).status_code == 200
    answer = await ask(app)
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:problem:too-many-requests")
    assert answer.json()["detail"] == "You may send 5 requests per minute; wait for the next."
    assert answer.headers["RateLimit"].startswith('"address";r=0;t=')
    assert answer.headers["Retry-After"] == answer.headers["RateLimit"].rpartition("=")[2]
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert [(await ask(app)).status_code for _ in range(6)] == [200] * 5 + [429]


async def test_users_and_addresses_are_counted_apart() -> None:
    app = door(per_user=2, per_address=1)
    assert [(await ask(app, token=TOKEN)).status_code for _ in range(3)] == [200, 200, 429]
    assert [(await ask(app)).status_code for _ in range(2)] == [200, 429]
    assert (await ask(app, address="10.0.0.2")).headers["RateLimit"].startswith('"address";r=0;')


async def test_invented_tokens_count_for_their_address() -> None:
    app = door(per_user=9, per_address=2)
    assert [(await ask(app, token=f"Bearer {number}")).status_code for number in range(3)] == [200, 200, 429]


async def test_an_ipv6_network_has_one_quota() -> None:
    app = door(per_address=2)
    found = [(await ask(app, address=f"2001:db8::{number}")).status_code for number in range(3)]
    assert found == [200, 200, 429]
    assert (await ask(app, address="2001:db8:0:1::")).status_code == 200


async def test_without_a_limit_nothing_is_announced() -> None:
    answer = await ask(door(per_user=1), 3)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_health_checks_are_not_counted() -> None:
    app = door(per_address=1)
    assert (await ask(app, 3, path="/health/live")).status_code == 200
    assert [(await ask(app)).status_code for _ in range(2)] == [200, 429]


def test_a_websocket_over_the_quota_is_refused() -> None:
    async def chat(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    limits = RateLimits("memory://", per_user=0, per_address=1)
    client = TestClient(Admission(chat, 100, rates=limits))
    with client.websocket_connect("/"):
        pass
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass


@pytest.mark.parametrize("quota", [1, 7, 45, 6000, 6007])
async def test_no_request_of_a_quota_is_lost(quota: int) -> None:
    limits = RateLimits("memory://", per_user=quota, per_address=0)
    assert quota % Policy("user", quota).size == 0
    admitted = [(await statuses(limits, 7, 1))[0] for _ in range(quota + 5)]
    assert admitted == [True] * quota + [False] * 5


async def test_a_bounded_number_of_callers_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CALLERS", 3)
    limits = RateLimits("memory://", per_user=5, per_address=0)
    for user in range(10):
        await limits.admit(user)
    assert limits.of_users is not None
    assert list(limits.of_users.leases) == [7, 8, 9]


@pytest.fixture
def shared() -> Iterator[str]:
    with redis_beside() as url:
        yield url


async def test_workers_that_share_a_redis_share_the_quota(shared: str) -> None:
    one, other = [RateLimits(shared, per_user=40, per_address=0) for _ in range(2)]
    admitted = [(await statuses(limits, 7, 1))[0] for _ in range(30) for limits in (one, other)]
    assert admitted == [True] * 40 + [False] * 20
    await asyncio.gather(one.close(), other.close())


async def test_requests_at_the_same_time_take_one_lease(shared: str) -> None:
    limits = RateLimits(shared, per_user=40, per_address=0)
    assert await statuses(limits, 7, 10) == [True] * 10
    assert limits.of_users is not None
    assert (await statuses(limits, 7, 1), limits.of_users.leases[7].left + limits.of_users.leases[7].remaining) == (
        [True],
        29,
    )
    await limits.close()


async def test_without_its_redis_each_process_counts_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object, **__: object) -> bool:
        raise StorageError(OSError("away"))

    limits = RateLimits("memory://", per_user=2, per_address=0)
    with caplog.at_level(logging.WARNING, "kit"), monkeypatch.context() as patched:
        patched.setattr(limits.counters.window, "hit", away)
        assert [(await statuses(limits, 7, 1))[0] for _ in range(3)] == [True, True, False]
    assert caplog.messages == ["Rate limits are counted by each process: away"]
    with caplog.at_level(logging.WARNING, "kit"):
        assert await statuses(limits, 8, 1) == [True]
    assert caplog.messages[1:] == ["Rate limits are counted by all together: the store is back"]
