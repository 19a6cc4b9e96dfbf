"""A harness for batches: it holds the first transaction, so that the requests after it form a batch."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from kit.database.databases import Database
from kit.database.errors import RolledBack, meaning_of
from kit.fast import group_commit
from kit.fast.group_commit import GroupCommit
from tests.waiting import TIMEOUT_SECONDS, until

T = TypeVar("T")


async def repeated(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return the result of an attempt, which runs again if its transaction was rolled back, as that of a request."""
    for _ in range(10):
        try:
            return await attempt()
        except (RolledBack, OSError) as failure:
            if meaning_of(failure) not in ("again", "lost"):
                raise
    raise AssertionError("it ran too often")


def checked_out(database: Database) -> int:
    """Return the number of connections that writers hold."""
    pool: Any = database.writer.pool
    return int(pool.checkedout())


class HeldBatches:
    """Holds transactions until `opened` is set. Subclasses replace the function of the driver that begins them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        self.database, self.opened = database, asyncio.Event()
        self.failures: list[BaseException] = []
        """Raised instead of the statement of a batch."""
        monkeypatch.setattr(group_commit, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)

    @property
    def group(self) -> GroupCommit:
        group: GroupCommit = self.database.write().shortcuts.group_commit  # type: ignore[attr-defined]
        return group

    @property
    def waiting(self) -> int:
        """The number of requests that wait for the transaction of their batch to begin."""
        return sum(len(batch.members) for batch in self.group.collecting.values())

    async def started(self, requests: Sequence[Coroutine[Any, Any, T]]) -> list[asyncio.Task[T]]:
        """Start these requests. The first one begins a transaction; the others wait for it."""
        tasks = [asyncio.create_task(request) for request in requests]
        await until(lambda: self.waiting == len(requests) - 1)
        return tasks

    async def finish(self, tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
        """Let all requests finish. Returns the rows, or the types of the exceptions."""
        self.opened.set()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), TIMEOUT_SECONDS)
        await until(lambda: not any(self.group.open.values()))
        return [type(result) if isinstance(result, BaseException) else result for result in results]
