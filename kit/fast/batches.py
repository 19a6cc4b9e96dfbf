"""Batches: inserts of several requests in one transaction, which is committed if all of them vote for it.

    collecting --start--> inserting --all rows stored--> voting --all members agree--> committing --> committed
                          inserting --a row is refused--> rolled back: each member inserts its row by itself
                          voting --a member leaves--> rolled back: the requests of the others run again (Undone)
                          committing --refused--> rolled back: the requests of all run again (Undone)

No row is worse off than by itself: a member sees its own row only, and is told of the COMMIT when it is done. A member
that leaves before the start is left out.
"""

import asyncio
from contextlib import suppress

from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kit.database.errors import FAILURES, Undone, meaning_of
from kit.fast.single_insert import NewRow, SingleInsert
from kit.operations.unit_of_work import COMMIT_TIMEOUT

LOCK_TIMEOUT_SECONDS = 0.05
"""After that a batch is rolled back, and each member waits for the lock by itself."""


class Batch:
    """The transaction of several members."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.transaction = engine, SingleInsert(engine)
        self.members: list[Member] = []
        self.task: asyncio.Task[None] | None = None
        """Stores the rows. Nobody joins from when on it is there."""
        self.missing_votes = self.present = 0
        self.verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether to commit: true when the last member has agreed, false as soon as one leaves."""

    def join(self, new: NewRow) -> "Member":
        self.members.append(member := Member(self, new))
        self.missing_votes += 1
        self.present += 1
        return member

    async def run(self) -> Exception | None:
        """Store and commit all rows, and tell each member. Returns the failure if there is one."""
        failure: Exception | None = Undone()
        try:
            failure = await self._attempt()
        finally:
            self._tell(failure)
        return failure

    async def _attempt(self) -> Exception | None:
        try:
            await self._store()
        except BaseException as failure:
            with suppress(*FAILURES):  # the connection is lost, and the transaction with it
                await self.transaction.leave()
            if isinstance(failure, Exception):
                return failure
            raise
        return None

    async def _store(self) -> None:
        await self.transaction.insert(*(member.new for member in self.members), lock_timeout=LOCK_TIMEOUT_SECONDS)
        self._tell(None)
        if not await self.verdict:
            raise Undone
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await self.transaction.commit()
        except FAILURES as failure:
            if meaning_of(failure) in ("lost", "unavailable"):
                raise
            raise Undone(refused=True) from failure  # nobody knows for whose row

    def _tell(self, failure: Exception | None) -> None:
        for member in self.members:
            member.hear(failure)

    def agree(self) -> None:
        """A member votes for the COMMIT."""
        self.missing_votes -= 1
        if self.missing_votes == 0 and not self.verdict.done():
            self.verdict.set_result(True)

    def lose(self, member: "Member") -> None:
        """A member leaves without its vote."""
        self.present -= 1
        if self.task is None:
            self.members.remove(member)
            self.missing_votes -= 1
            return
        if not self.verdict.done():
            self.verdict.set_result(False)
        if self.present == 0:
            self.task.cancel()


class Member:
    """A row in a batch. Its request uses it like a `SingleInsert`."""

    def __init__(self, batch: Batch, new: NewRow) -> None:
        self.batch, self.new = batch, new
        self.own: SingleInsert | None = None
        """The transaction of this row alone, after the batch could not be stored."""
        self.news: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """The outcome of the step that the batch takes: the INSERT, then the COMMIT."""
        self.has_agreed = False

    def hear(self, failure: Exception | None) -> None:
        news, self.news = self.news, asyncio.get_running_loop().create_future()
        if not news.done():  # the request was cancelled
            news.set_result(failure)

    async def insert(self, new: NewRow) -> None:
        failure = await self.news
        if failure is None:
            return
        if isinstance(failure, PoolTimeout) or meaning_of(failure) in ("lost", None):
            raise failure
        self.own = SingleInsert(self.batch.engine)
        await self.own.insert(new)

    async def commit(self) -> None:
        if self.own:
            await self.own.commit()
            return
        news, self.has_agreed = self.news, True
        self.batch.agree()
        if failure := await news:
            raise failure

    async def leave(self) -> None:
        if self.own:
            await self.own.leave()
        elif not self.has_agreed:
            self.batch.lose(self)
