"""Coalescing: reads that are asked for at the same time under one key are answered by one query.

The invariant: a read joins a query only before that query starts. So it sees everything that was committed before it
was asked for, exactly as if it had a query of its own. For each key:

    idle --read--> a batch starts at once
    a batch runs --read--> the next batch collects --the first ends, or MAX_WAIT_SECONDS--> the next batch starts
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Any

MAX_ITEMS = 100
"""Different items that one query answers."""
MAX_WAIT_SECONDS = 0.05
"""For the query that runs: a slow one does not hold up the next for longer."""

Query = Callable[[Collection[Any]], Awaitable[Any]]


class ReadBatch:
    """A query for these items, and the futures of those who wait for its result."""

    def __init__(self) -> None:
        self.items: dict[Any, None] = {}
        self.waiters: list[asyncio.Future[Any]] = []
        self.task: asyncio.Task[None] | None = None

    def join(self, item: Any) -> asyncio.Future[Any]:
        self.items[item] = None
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return waiter

    def resolve(self, result: Any) -> None:
        for waiter in self.waiters:
            if not waiter.done():  # a waiter that was cancelled is done
                waiter.set_result(result)

    def reject(self, failure: BaseException) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(failure)


class Coalescer:
    """The batches of one database: for each key, the one that collects and the one that runs."""

    def __init__(self) -> None:
        self.collecting: dict[Hashable, ReadBatch] = {}
        self.running: dict[Hashable, ReadBatch] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, key: Hashable, item: Any, query: Query) -> Any:
        """The result of one query for this item and the other items that are asked for under this key; or its failure.

        All callers must give queries that do the same for a key. A caller that is cancelled does not affect the others.
        """
        self._enter_loop()
        batch = self.collecting.get(key)
        if batch is None or len(batch.items) >= MAX_ITEMS:
            batch = self.collecting[key] = ReadBatch()
            batch.task = asyncio.create_task(self._run(key, batch, query))
        return await batch.join(item)

    def _enter_loop(self) -> None:
        """Forget the batches of an event loop that has ended."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.collecting, self.running = loop, {}, {}

    async def _run(self, key: Hashable, batch: ReadBatch, query: Query) -> None:
        if key in self.running and (previous := self.running[key].task):
            await asyncio.wait([previous], timeout=MAX_WAIT_SECONDS)
        if self.collecting.get(key) is batch:
            del self.collecting[key]  # from here on nobody joins: the query starts
        self.running[key] = batch
        try:
            batch.resolve(await query(batch.items))
        except Exception as failure:
            batch.reject(failure)
        except asyncio.CancelledError as end:
            batch.reject(end)
            raise
        finally:
            if self.running.get(key) is batch:
                del self.running[key]
