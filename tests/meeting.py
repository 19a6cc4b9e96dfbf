"""Queries that wait for each other: they finish only if all of them are under way at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import pytest

from kit.database.databases import Database
from kit.database.reading import ReadSession
from tests.statements import noting

PATIENCE = 5
"""Seconds, after which queries that do not meet have failed."""


class Meeting:
    """In the block, so many queries that run together begin all before the first of them ends.

    `connections` are those on which they ran.
    """

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.connections: set[Any] = set()
        self.barrier, self.watch = asyncio.Barrier(number), noting(database.reader, self.note)
        alone = ReadSession.alone

        async def in_company(session: ReadSession, query: Callable[[ReadSession], Awaitable[Any]]) -> Any:
            async def meet(reader: ReadSession) -> Any:
                result = await query(reader)
                async with asyncio.timeout(PATIENCE):
                    await self.barrier.wait()
                return result

            return await alone(session, meet)

        monkeypatch.setattr(ReadSession, "alone", in_company)

    def note(self, connection: Any, _: str) -> None:
        self.connections.add(connection)

    def __enter__(self) -> Self:
        self.watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.__exit__(kind, failure, trace)
