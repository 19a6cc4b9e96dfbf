"""How are rows stored together that came alone: in one transaction, of which each request sees its own row only.

No row is worse off than by itself. It is answered after the COMMIT. If one cannot be stored, all are undone, and each
is stored by itself. If a request leaves after its row was stored, or the COMMIT is refused, all are undone, and the
others' requests run again.
"""

import asyncio
from contextlib import suppress

from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kit.database.errors import FAILURES, Undone, meaning_of
from kit.fast.single_insert import Lone
from kit.models.entities import Entity
from kit.operations.deadlines import COMMIT_TIMEOUT

PATIENCE = 0.05
"""Seconds to wait for a lock; who else waits for it, does so by itself."""


class Group:
    """The rows of one transaction, and the requests that wait for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.transaction = engine, Lone(engine)
        self.members: list[Member] = []
        self.task: asyncio.Task[None] | None = None
        """What stores them, from when on nobody joins."""
        self.undecided = self.present = 0
        self.is_wanted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether all want the COMMIT: true when the last has said so, false as soon as one has left."""

    async def run(self) -> Exception | None:
        """Store all, and tell each. Returns why not, if so."""
        failure: Exception | None = Undone()
        try:
            failure = await self.attempt()
        finally:
            self.tell(failure)
        return failure

    async def attempt(self) -> Exception | None:
        try:
            await self.store()
        except BaseException as failure:
            with suppress(*FAILURES):  # the connection has gone, and the transaction with it
                await self.transaction.leave(failure)
            if isinstance(failure, Exception):
                return failure
            raise
        return None

    async def store(self) -> None:
        await self.transaction.insert(*(member.row for member in self.members), patience=PATIENCE)
        self.tell(None)
        if not await self.is_wanted:
            raise Undone
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await self.transaction.commit()
        except FAILURES as failure:
            if meaning_of(failure) in ("lost", "unavailable"):
                raise
            raise Undone(refused=True) from failure  # nobody knows for whose row

    def join(self, row: Entity) -> "Member":
        self.members.append(member := Member(self, row))
        self.undecided += 1
        self.present += 1
        return member

    def tell(self, failure: Exception | None) -> None:
        for member in self.members:
            member.hear(failure)

    def agree(self) -> None:
        self.undecided -= 1
        if self.undecided == 0 and not self.is_wanted.done():
            self.is_wanted.set_result(True)

    def lose(self, member: "Member") -> None:
        """This one does not wait any more, nor wants the COMMIT."""
        self.present -= 1
        if self.task is None:
            self.members.remove(member)
            self.undecided -= 1
            return
        if not self.is_wanted.done():
            self.is_wanted.set_result(False)
        if self.present == 0:
            self.task.cancel()


class Member:
    """A row in a group; its request asks of it what it would ask of a `Lone`."""

    def __init__(self, group: Group, row: Entity) -> None:
        self.group, self.row = group, row
        self.itself: Lone | None = None
        """The transaction of this row only, if there was no way with the others."""
        self.news: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.has_agreed = False

    def hear(self, failure: Exception | None) -> None:
        news, self.news = self.news, asyncio.get_running_loop().create_future()
        if not news.done():  # by cancellation
            news.set_result(failure)

    async def insert(self, row: Entity) -> None:
        failure = await self.news
        if failure is None:
            return
        if isinstance(failure, PoolTimeout) or meaning_of(failure) in ("lost", None):
            raise failure
        self.itself = Lone(self.group.engine)
        await self.itself.insert(row)

    async def commit(self) -> None:
        if self.itself:
            await self.itself.commit()
            return
        news, self.has_agreed = self.news, True
        self.group.agree()
        if failure := await news:
            raise failure

    async def leave(self, failure: BaseException | None) -> None:
        if self.itself:
            await self.itself.leave(failure)
        elif not self.has_agreed:
            self.group.lose(self)
