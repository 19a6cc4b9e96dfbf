"""Coalescing: reads with the same key that arrive while a query runs share the next query.

Invariant: a read joins a query only before the query starts. Therefore it sees everything that was committed before
the read began, as with its own query. For each key:

    idle --read--> its query starts at once in the task of the request. If the last query was shared, it starts in the
                   next iteration of the event loop, in a batch that other reads join
    a query runs --read--> the next batch collects --the query ends, or MAX_WAIT_SECONDS--> the next batch starts
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Any

from kit.http import traces
from kit.http.events import COUNTS

MAX_ITEMS = 100
"""The maximum number of different items, such as ids, of one query."""
MAX_WAIT_SECONDS = 0.05
"""The maximum time that a batch waits for the running query to end."""

Query = Callable[[Collection[Any]], Awaitable[Any]]


class ReadBatch:
    """The items (such as ids) of one query, and the futures of the reads that wait for its result."""

    def __init__(self) -> None:
        self.items: dict[Any, None] = {}
        self.waiters: list[asyncio.Future[Any]] = []
        self.marks: list[traces.Mark] = []
        self.task: asyncio.Task[None] | None = None

    def join(self, item: Any, waiter: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self.items[item] = None
        self.waiters.append(waiter)
        if traces.TRACERS:
            self.marks.append(traces.mark())
        return waiter

    def resolve(self, result: Any) -> None:
        for waiter in self.waiters:
            if not waiter.done():  # it is done if its read was cancelled
                waiter.set_result(result)

    def reject(self, failure: BaseException) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(failure)


class Coalescer:
    """The batches of one database: for each key, the collecting batch and the running query."""

    def __init__(self) -> None:
        self.collecting: dict[Hashable, ReadBatch] = {}
        self.running: dict[Hashable, asyncio.Future[None]] = {}
        """The last query that has started, by key: a future that is resolved when it ends."""
        self.is_shared = False
        """Whether the last query was for several reads. If so, the next read waits for others to join."""
        self.loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, key: Hashable, item: Any, query: Query) -> Any:
        """Return the result of `query` for a set of items that contains `item`. Raises the failure of the query.

        All queries with the same key must be equivalent. Cancelling a caller does not affect the other callers; the
        query is cancelled when no caller is left.
        """
        loop = asyncio.get_running_loop()
        if loop is not self.loop:  # discards the batches of a previous event loop
            self.loop, self.collecting, self.running = loop, {}, {}
        batch = self.collecting.get(key)
        if batch is None and not self.is_shared and key not in self.running:
            return await self._execute(key, query, (item,), 1)
        if batch is None or len(batch.items) >= MAX_ITEMS:
            batch = self.collecting[key] = ReadBatch()
            batch.task = loop.create_task(self._run(key, batch, query))
        try:
            return await batch.join(item, loop.create_future())
        except asyncio.CancelledError:
            self._leave(key, batch)
            raise

    def _leave(self, key: Hashable, batch: ReadBatch) -> None:
        """Cancel the query of a batch if no caller waits for it any more."""
        if batch.task is not None and all(waiter.done() for waiter in batch.waiters):
            if self.collecting.get(key) is batch:
                del self.collecting[key]
            batch.task.cancel()

    async def _run(self, key: Hashable, batch: ReadBatch, query: Query) -> None:
        """Wait until the previous query of the key ends, then execute the query of this batch."""
        if previous := self.running.get(key):
            await asyncio.wait([previous], timeout=MAX_WAIT_SECONDS)
        if self.collecting.get(key) is batch:
            del self.collecting[key]  # the query starts, so no read may join any more
        if traces.TRACERS:
            traces.share(batch.marks)
        try:
            batch.resolve(await self._execute(key, query, batch.items, len(batch.waiters)))
        except Exception as failure:
            batch.reject(failure)
        except asyncio.CancelledError as end:
            batch.reject(end)
            raise

    async def _execute(self, key: Hashable, query: Query, items: Collection[Any], reads: int) -> Any:
        """Execute a query for a number of reads, and return its result. The next batch of the key waits for its end."""
        self.is_shared = reads > 1
        COUNTS["coalesced", "reads"] += reads
        COUNTS["coalesced", "queries"] += 1
        self.running[key] = ended = asyncio.get_running_loop().create_future()
        try:
            return await query(items)
        finally:
            ended.set_result(None)
            if self.running.get(key) is ended:
                del self.running[key]
