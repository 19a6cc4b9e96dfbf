"""Attacks from four addresses, as a separate process, so that they do not slow down the clients of the tests.

`python -m tests.faults.attacks ATTACK PORT TOKEN NAME` attacks the service at this port until it is killed. The
token is of a member who attacks, the name of another member.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.faults.client import Client, bearer, user_body

ATTACKERS = tuple(f"127.0.0.{number}" for number in range(2, 6))
"""The addresses of the attack; the other clients use 127.0.0.1."""
HEAD = b"POST /heroes/ HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
PREFIX = secrets.token_hex(4)
"""The prefix of the names that this run creates."""
numbers = count(1)


@dataclass
class Target:
    """The service, with a token of a member who attacks it, and the name of another member."""

    port: int
    token: str
    other_name: str


async def send_one_byte_of_a_body(target: Target) -> None:
    await hold_all(target, HEAD, 210)


async def send_half_a_head(target: Target) -> None:
    await hold_all(target, b"GET /heroes/ HTTP/1.1\r\nHost: test\r\nX-A: ", 900)


async def hold_all(target: Target, sent: bytes, connections: int) -> None:
    async def hold_one(address: str) -> None:
        while True:
            with suppress(OSError):
                local = (address, 0)
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port, local_addr=local)
                try:
                    writer.write(sent)
                    await reader.read()
                finally:
                    writer.close()
            await asyncio.sleep(0.1)

    await together(hold_one(ATTACKERS[number % len(ATTACKERS)]) for number in range(connections))


async def register_a_name_that_is_taken(target: Target) -> None:
    await ask_in_loops(target, 100, "POST", "/users/", lambda: user_body(target.other_name))


async def register_new_names(target: Target) -> None:
    await ask_in_loops(target, 100, "POST", "/users/", lambda: user_body(f"new{PREFIX}{next(numbers)}"))


async def guess_passwords(target: Target) -> None:
    def guess() -> str:
        return f"username=nobody{PREFIX}{next(numbers)}&password=wrong"

    await ask_in_loops(target, 100, "POST", "/auth/token", guess)


async def search_in_many_loops(target: Target) -> None:
    await ask_in_loops(target, 40, "GET", "/heroes/?q=nothing&count=true", token=target.token)


async def store_many_at_once(target: Target) -> None:
    items = [{"name": "Teapot", "price": "9.99"}] * 1000
    await ask_in_loops(target, 4, "POST", "/items/bulk", lambda: items, token=target.token)


async def change_one_row_in_many_loops(target: Target) -> None:
    async with Client(target.port, ATTACKERS[0], bearer(target.token)) as client:
        item = (await client.send("POST", "/items/", {"name": "Teapot", "price": "9.99"})).json()
    body = {"name": "Pot"}
    await ask_in_loops(target, 45, "PATCH", f"/items/{item['id']}", lambda: body, token=target.token)


async def ask_in_loops(
    target: Target, loops: int, method: str, path: str, body: Callable[[], Any] = lambda: None, token: str = ""
) -> None:
    async def loop(address: str) -> None:
        while True:
            with suppress(OSError):
                async with Client(target.port, address, bearer(token)) as client:
                    while True:
                        answer = await client.send(method, path, body())
                        await asyncio.sleep(0 if answer.status < 400 else 0.02)

    await together(loop(ATTACKERS[number % len(ATTACKERS)]) for number in range(loops))


async def together(attackers: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for attacker in attackers:
            group.create_task(attacker)


ATTACKS = {
    attack.__name__: attack
    for attack in (
        send_one_byte_of_a_body,
        send_half_a_head,
        register_a_name_that_is_taken,
        register_new_names,
        guess_passwords,
        search_in_many_loops,
        store_many_at_once,
        change_one_row_in_many_loops,
    )
}


if __name__ == "__main__":
    os.nice(10)  # attackers have machines of their own: here they use what the service leaves
    asyncio.run(ATTACKS[sys.argv[1]](Target(int(sys.argv[2]), sys.argv[3], sys.argv[4])))
