"""Attacks from four addresses: meanwhile other clients are served, and soon after everything is as before."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from tests.faults.client import PASSWORD, Client, bearer, user_body
from tests.faults.conftest import Serve
from tests.faults.figures import percentile, seen
from tests.live import Server
from tests.watchdog import slowness_of_the_machine

pytestmark = pytest.mark.measured
SECONDS = 4
P99, LOGIN, RECOVERY = 0.25, 1.0, 1.0
"""Bounds in seconds: of the 99th percentile of reads and writes, of a login, and until both are served as before.

They are longer on a slower machine.
"""
TRIES = 3
"""The maximum number of attempts: other work of the machine may make one of them fail."""
numbers = count(1)


@dataclass
class Target:
    """The service, with a token of a member who attacks it, and the token and name of another member."""

    server: Server
    attacker: str
    other: str
    name: str
    """The username of the other member."""


@dataclass
class Observed:
    """Latencies in seconds of the other client."""

    calls: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)


async def join(server: Server, name: str) -> str:
    """Register, and log in: the token."""
    async with Client(server.port) as client:
        assert (await client.send("POST", "/users/", user_body(name))).status == 201
        return str((await log_in(client, name)).json()["access_token"])


async def log_in(client: Client, name: str) -> Any:
    answer = await client.send("POST", "/auth/token", f"username={name}&password={PASSWORD.replace(' ', '+')}")
    assert answer.status == 200, answer
    return answer


async def read_and_write(target: Target, observed: Observed, until: Callable[[], bool]) -> None:
    async with Client(target.server.port, headers=bearer(target.other)) as client:
        while not until():
            for method, path, body in (
                ("GET", "/heroes/?limit=5", None),
                ("POST", "/items/", {"name": "Cup", "price": "1.00"}),
                ("GET", "/users/me", None),
            ):
                answer = await client.send(method, path, body)
                assert answer.status in (200, 201), answer
                observed.calls.append(answer.seconds)
                await asyncio.sleep(0.02)


async def log_in_again_and_again(target: Target, observed: Observed, until: Callable[[], bool]) -> None:
    async with Client(target.server.port) as client:
        while not until():
            observed.logins.append((await log_in(client, target.name)).seconds)
            await asyncio.sleep(0.2)


async def observe(target: Target, seconds: float) -> Observed:
    observed, end = Observed(), time.monotonic() + seconds
    await asyncio.gather(
        *(watch(target, observed, lambda: time.monotonic() > end) for watch in (read_and_write, log_in_again_and_again))
    )
    return observed


@asynccontextmanager
async def under(attack: str, target: Target) -> AsyncIterator[None]:
    arguments = (attack, str(target.server.port), target.attacker, target.name)
    attacking = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.faults.attacks", *arguments)
    try:
        await asyncio.sleep(1.5)
        yield
        assert attacking.returncode is None
    finally:
        attacking.kill()
        await attacking.wait()


@pytest.fixture
async def target(serve: Serve) -> Target:
    server = serve(REQUIRE_AUTH="true", SECRET_KEY="k" * 32, DEMO_DATA="true", USER_RATE="6000", ADDRESS_RATE="600")
    names = [f"member{next(numbers)}" for _ in range(2)]
    attacker, other = [await join(server, name) for name in names]
    return Target(server, attacker, other, names[1])


@pytest.mark.parametrize(
    ("attack", "bound"),
    [
        ("send_one_byte_of_a_body", P99),
        ("send_half_a_head", P99),
        ("register_a_name_that_is_taken", P99),
        ("register_new_names", P99),
        ("guess_passwords", P99),
        ("search_in_many_loops", P99),
        ("store_many_at_once", P99),
        ("change_one_row_in_many_loops", P99),
    ],
)
async def test_other_clients_are_served_during_an_attack(
    target: Target, engine: str, attack: str, bound: float
) -> None:
    slowness = slowness_of_the_machine()
    for _ in range(TRIES):
        async with under(attack, target):
            observed = await observe(target, SECONDS)
        await asyncio.sleep(RECOVERY)
        after = await observe(target, 1)
        p99, login = percentile(observed.calls, 0.99), max(observed.logins)
        name = attack.replace("_", " ")
        seen(f"{name}, {engine}", f"p99 {p99 * 1000:.0f} ms, login {login * 1000:.0f} ms")
        if p99 <= bound * slowness and login <= LOGIN * slowness and percentile(after.calls, 0.9) <= P99 * slowness:
            return
    raise AssertionError(f"p99 {p99:.2f} s, login {login:.2f} s, afterwards {max(after.calls):.2f} s")
