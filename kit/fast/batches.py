"""Batches: members of several requests share one transaction, which is committed if all of them vote for it.

    collecting --start--> stored --all members have voted--> committing --> committed
                          stored --a member is closed--> rolled back: the other requests run again (RolledBack)
                          committing --refused--> rolled back: all requests run again (RolledBack)

How the members' rows are stored is a matter of the kind of the batch: `insert_batches`, `update_batches`.

Invariant: for each request the result is the same as with a transaction of its own. A member sees only its own row, and
its `commit` returns after the COMMIT. A member that is closed before the start is removed.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kit.database.errors import FAILURES, RolledBack, may_be_committed, meaning_of
from kit.fast.single_insert import DriverTransaction
from kit.http import traces
from kit.operations.unit_of_work import COMMIT_TIMEOUT

T = TypeVar("T")
LOCK_TIMEOUT_SECONDS = 0.05
"""After this time a batch is rolled back, and each member waits for the lock in its own transaction.

That holds for deferred constraints too.
"""
MAX_SECONDS = 0.5
"""The longest time of a batch for its statements, and for its deferred constraints, on PostgreSQL.

Triggers of its rows run one after the other. In transactions of their own, they run at the same time.
"""


class Batch(ABC):
    """The transaction that several members share."""

    def __init__(self, engine: Engine, transaction: DriverTransaction) -> None:
        self.engine, self.transaction = engine, transaction
        self.members: list[Member] = []
        self.task: asyncio.Task[None] | None = None
        """Runs the transaction. Once it is set, no member can join."""
        self.missing_votes = 0
        self.decision: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether to commit: true when all members have voted, false as soon as one is closed without a vote."""

    @property
    def seconds(self) -> float | None:
        """The longest time for the statements. SQLite has no locks that a batch waits for."""
        return MAX_SECONDS if self.engine.dialect.name == "postgresql" else None

    @abstractmethod
    async def store(self) -> None:
        """Store the rows of the members, and report it to them. Raises the failure of the database."""

    async def run(self) -> Exception | None:
        """Store and commit all rows, and report the outcome to each member. Returns the failure, if any."""
        traces.share([member.mark for member in self.members])
        failure: Exception | None = RolledBack()
        try:
            failure = await self._attempt()
        finally:
            self.report(failure)
        return failure

    async def _attempt(self) -> Exception | None:
        """Store and commit the rows, or roll back. Returns the failure, if any."""
        try:
            await self._store_and_commit()
        except BaseException as failure:
            with suppress(*FAILURES):  # the ROLLBACK fails if the connection is lost; the transaction is gone anyway
                await self.transaction.close()
            if isinstance(failure, Exception):
                return failure
            raise
        return None

    async def _store_and_commit(self) -> None:
        """Store the rows, wait for the votes, and commit. Raises the failure of the database, or `RolledBack`."""
        await self.store()
        if not await self.decision:
            raise RolledBack
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await self.transaction.commit()
        except FAILURES as failure:
            if may_be_committed(failure):
                raise
            raise RolledBack from failure  # a deferred constraint waits, or does not say which row violates it

    def report(self, failure: Exception | None) -> None:
        """Report the outcome of a step to the members."""
        for member in self.members:
            member.receive(failure)

    def vote(self) -> None:
        """Count the vote of a member for the COMMIT."""
        self.missing_votes -= 1
        if self.missing_votes == 0 and not self.decision.done():
            self.decision.set_result(True)

    def remove(self, member: "Member") -> None:
        """Remove a member that has not voted. If its row may be stored already, the batch is rolled back."""
        self.members.remove(member)
        self.missing_votes -= 1
        if self.task is None:
            return
        if not self.decision.done():
            self.decision.set_result(False)
        if not self.members:
            self.task.cancel()


class Member:
    """A member of a batch, with the interface of a transaction of its own."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        batch.members.append(self)
        batch.missing_votes += 1
        self.own: DriverTransaction | None = None
        """The member's own transaction, if the batch could not store its row."""
        self.outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """The failure, or None, of the next step of the batch; the last step is the COMMIT."""
        self.has_voted = False
        self.mark = traces.mark()

    def receive(self, failure: Exception | None) -> None:
        """Resolve the outcome of a step, and wait for the next."""
        outcome, self.outcome = self.outcome, asyncio.get_running_loop().create_future()
        if not outcome.done():  # it is done if the request was cancelled
            outcome.set_result(failure)

    async def is_done_by_batch(self) -> bool:
        """Wait for a step of the batch. Returns False if the member has to do it in a transaction of its own.

        Raises the failure if that would fail too.
        """
        failure = await self.outcome
        if isinstance(failure, PoolTimeout) or (failure is not None and meaning_of(failure) in ("lost", None)):
            raise failure
        return failure is None

    @property
    def is_shared(self) -> bool:
        """Whether the batch, and not a transaction of its own, commits the row."""
        return self.own is None

    async def commit(self) -> None:
        if self.own:
            await self.own.commit()
            return
        outcome, self.has_voted = self.outcome, True
        self.batch.vote()
        if failure := await outcome:
            raise failure

    async def close(self) -> None:
        if self.own:
            await self.own.close()
        elif not self.has_voted:
            self.batch.remove(self)


async def within(seconds: float | None, step: Awaitable[T]) -> T:
    """Return the result of a step. Raises `RolledBack` if it takes longer than these seconds."""
    if seconds is None:
        return await step
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as failure:
        raise RolledBack from failure
