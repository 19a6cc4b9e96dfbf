"""A barrier for queries, which they pass only if all of them run at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import pytest

from kit import Database, ReadSession
from tests.statements import noting
from tests.waiting import TIMEOUT_SECONDS

Query = Callable[[ReadSession], Awaitable[Any]]


class ConcurrentQueries:
    """During the block, `number` gathered queries end only after all of them have begun.

    `connections`: the connections on which they ran.
    """

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.connections: set[Any] = set()
        self.barrier, self.watch = asyncio.Barrier(number), noting(database.reader, self.note)
        session: Any = database.read()
        gather = type(session).gather

        async def gather_all(session: Any, *queries: Query) -> Any:
            return await gather(session, *map(self.at_the_same_time, queries))

        monkeypatch.setattr(type(session), "gather", gather_all)

    def at_the_same_time(self, query: Query) -> Query:
        async def meet(reader: ReadSession) -> Any:
            result = await query(reader)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.barrier.wait()
            return result

        return meet

    def note(self, connection: Any, _: str) -> None:
        self.connections.add(connection)

    def __enter__(self) -> Self:
        self.watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.__exit__(kind, failure, trace)
