"""Greenlets of the fast path: used again after each function, whatever its outcome."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from sqlalchemy import util

from kit.fast import driver
from kit.fast.driver import WORKERS, spawn

NUMBER: ContextVar[int] = ContextVar("number", default=0)


def wait(awaitable: Any) -> Any:
    return util.await_only(awaitable)


async def number() -> int:
    await asyncio.sleep(0)
    return NUMBER.get()


async def test_a_function_waits_in_a_greenlet_that_the_next_one_uses_again() -> None:
    NUMBER.set(7)
    assert await spawn(wait, number()) == 7
    idle = WORKERS.idle[-1]
    NUMBER.set(8)
    assert await spawn(wait, number()) == 8
    assert WORKERS.idle[-1] is idle


async def test_functions_that_wait_at_the_same_time_have_greenlets_of_their_own() -> None:
    async def numbered(value: int) -> Any:
        NUMBER.set(value)
        return await spawn(wait, number())

    assert await asyncio.gather(*map(numbered, range(5))) == list(range(5))


async def test_an_exception_of_a_function_is_raised_and_its_greenlet_is_used_again() -> None:
    NUMBER.set(0)
    with pytest.raises(ZeroDivisionError):
        await spawn(lambda: 1 / 0)
    idle = WORKERS.idle[-1]
    assert (idle.failure, await spawn(wait, number()), WORKERS.idle[-1]) == (None, 0, idle)


async def test_a_function_sees_the_exception_of_what_it_waits_for() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    def handle() -> str:
        with pytest.raises(ZeroDivisionError):
            util.await_only(fail())
        return f"handled, {util.await_only(number())}"

    NUMBER.set(0)
    assert await spawn(handle) == "handled, 0"


async def test_a_function_is_cancelled_where_it_waits() -> None:
    seen: list[BaseException] = []

    def sleep() -> None:
        try:
            util.await_only(asyncio.sleep(60))
        except asyncio.CancelledError as end:
            seen.append(end)
            raise

    task = asyncio.create_task(spawn(sleep))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(seen) == 1


async def test_few_idle_greenlets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_IDLE", 2)
    WORKERS.idle.clear()
    await asyncio.gather(*(spawn(wait, number()) for _ in range(5)))
    assert len(WORKERS.idle) == 2
