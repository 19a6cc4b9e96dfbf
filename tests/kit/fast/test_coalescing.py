"""Coalescing: which reads share a query, and that no read returns a value older than its start."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from kit.fast import coalescing
from kit.fast.coalescing import MAX_ITEMS, Coalescer
from tests.waiting import TIMEOUT_SECONDS

LONG = TIMEOUT_SECONDS
"""The timeout of waiting tests, in seconds."""


class Source:
    """A source whose answer is the number of queries so far, as soon as the test allows it."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.may_answer = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, items: Collection[Any]) -> int:
        self.asked.append(list(items))
        number = len(self.asked)
        await self.may_answer.wait()
        if self.failure:
            raise self.failure
        return number


@pytest.fixture
def source() -> Source:
    return Source()


async def asking(coalescer: Coalescer, source: Source, *items: Any) -> list[asyncio.Task[int]]:
    """Start tasks that request these items, and return them."""
    tasks = [asyncio.create_task(coalescer.ask("key", item, source)) for item in items]
    await settled()
    return tasks


def sharing() -> Coalescer:
    """Return a coalescer whose last query was shared."""
    coalescer = Coalescer()
    coalescer.is_shared = True
    return coalescer


def query_tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks that run the queries of batches."""
    return [task for task in asyncio.all_tasks() if "Coalescer._run" in repr(task.get_coro())]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reads_at_the_same_time_share_a_query(source: Source) -> None:
    tasks = await asking(sharing(), source, 1, 2, 3, 2)
    source.may_answer.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1, 1]
    assert source.asked == [[1, 2, 3]]


async def test_a_read_alone_runs_in_its_own_task(source: Source) -> None:
    coalescer = Coalescer()
    (alone,) = await asking(coalescer, source, 1)
    assert not query_tasks()
    others = await asking(coalescer, source, 2, 3)
    source.may_answer.set()
    assert [await task for task in (alone, *others)] == [1, 2, 2]
    assert coalescer.is_shared


async def test_a_read_alone_that_is_cancelled_lets_the_next_begin(source: Source) -> None:
    coalescer = Coalescer()
    (alone,) = await asking(coalescer, source, 1)
    (other,) = await asking(coalescer, source, 2)
    alone.cancel()
    source.may_answer.set()
    assert await other == 2
    assert not coalescer.running


async def test_a_read_does_not_join_a_query_that_has_started(source: Source) -> None:
    coalescer = Coalescer()
    first = await asking(coalescer, source, 1)
    assert source.asked == [[1]]
    later = await asking(coalescer, source, 1, 2)
    source.may_answer.set()
    assert [await task for task in (*first, *later)] == [1, 2, 2]
    assert source.asked == [[1], [1, 2]]


async def test_another_key_is_another_query(source: Source) -> None:
    coalescer = Coalescer()
    source.may_answer.set()
    answers = await asyncio.gather(coalescer.ask("one", 1, source), coalescer.ask("another", 1, source))
    assert list(answers) == [1, 2]


async def test_the_number_of_items_of_a_query_is_bounded(source: Source) -> None:
    tasks = await asking(sharing(), source, *range(MAX_ITEMS + 1))
    source.may_answer.set()
    await asyncio.gather(*tasks)
    assert [len(items) for items in source.asked] == [MAX_ITEMS, 1]


async def test_a_cancelled_read_does_not_affect_the_others(source: Source) -> None:
    gone, other, third = await asking(sharing(), source, 1, 2, 3)
    gone.cancel()
    source.may_answer.set()
    assert [await other, await third] == [1, 1]
    assert gone.cancelled()


async def test_a_query_without_callers_is_cancelled(source: Source) -> None:
    coalescer = sharing()
    first, second = await asking(coalescer, source, 1, 2)
    (task,) = query_tasks()
    first.cancel()
    await settled()
    assert not task.cancelled()
    second.cancel()
    await settled()
    assert task.cancelled()
    assert not coalescer.running
    source.may_answer.set()
    assert await coalescer.ask("key", 1, source) == 2


async def test_a_batch_whose_callers_leave_before_its_query_starts_takes_no_others(source: Source) -> None:
    coalescer = Coalescer()
    (running,) = await asking(coalescer, source, 1)
    (gone,) = await asking(coalescer, source, 2)
    assert coalescer.collecting
    gone.cancel()
    await settled()
    assert not coalescer.collecting
    source.may_answer.set()
    assert [await running, await coalescer.ask("key", 3, source)] == [1, 2]
    assert source.asked == [[1], [3]]


async def test_a_failure_is_raised_to_all_waiters_and_no_later_read(source: Source) -> None:
    coalescer = sharing()
    source.failure = OSError("no database")
    tasks = await asking(coalescer, source, 1, 2, 3)
    source.may_answer.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [source.failure] * 3
    source.failure = None
    assert await coalescer.ask("key", 1, source) == 2
    assert not coalescer.collecting
    assert not coalescer.running


async def test_a_query_that_is_cancelled_at_shutdown_cancels_its_waiters(source: Source) -> None:
    coalescer = sharing()
    tasks = await asking(coalescer, source, 1, 2)
    (task,) = query_tasks()
    task.cancel()
    await asyncio.wait(tasks, timeout=LONG)
    assert all(task.cancelled() for task in tasks)


async def test_a_slow_query_does_not_delay_the_next(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescing, "MAX_WAIT_SECONDS", 0.01)
    coalescer = Coalescer()
    slow = await asking(coalescer, source, 1)
    later = await asking(coalescer, source, 2)
    async with asyncio.timeout(LONG):
        while len(source.asked) < 2:  # noqa: ASYNC110  no event comes from there
            await asyncio.sleep(0.01)
    assert not slow[0].done()
    source.may_answer.set()
    assert [await task for task in (*slow, *later)] == [1, 2]
    assert not coalescer.running


def test_a_batch_of_an_ended_event_loop_is_discarded() -> None:
    coalescer = Coalescer()
    coalescer.loop = asyncio.new_event_loop()
    coalescer.collecting["key"], coalescer.running["key"] = coalescing.ReadBatch(), coalescer.loop.create_future()
    coalescer.loop.close()

    async def ask() -> Any:
        return await coalescer.ask("key", 1, lambda items: asyncio.sleep(0, list(items)))

    assert asyncio.run(ask()) == [1]
