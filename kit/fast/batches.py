"""Batches: members of several requests share one transaction, which is committed if all of them vote for it.

    collecting --start--> stored --all members have voted--> committing --> committed
                          stored --a member is closed--> rolled back: the other requests run again (RolledBack)
                          committing --refused--> rolled back: all requests run again (RolledBack)

The subclasses store the rows: `insert_batches`, `update_batches`.

Invariant: for each request the result is the same as with its own transaction. A member sees only its own row, and its
`commit` returns after the COMMIT. A member that is closed before the start is removed.
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
"""The `lock_timeout` of a batch, also while deferred constraints are checked.

If it passes, the batch is rolled back, and each member waits for the lock in its own transaction.
"""
MAX_SECONDS = 0.5
"""The timeout of a batch for its statements and its deferred constraints, on PostgreSQL.

It is needed because triggers of its rows run one after the other. In separate transactions they run concurrently.
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
        """The timeout of the statements; None on SQLite, where a batch waits for no locks."""
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
            raise RolledBack from failure  # a deferred constraint waits for a lock, or its error names no row

    def report(self, failure: Exception | None) -> None:
        """Report the outcome of a step to the members: a failure, or None."""
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
    """A member of a batch: one request, with the interface of a transaction."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        batch.members.append(self)
        batch.missing_votes += 1
        self.own: DriverTransaction | None = None
        """The member's own transaction, if the batch could not store its row."""
        self.outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """The outcome of the next step of the batch: a failure, or None. The last step is the COMMIT."""
        self.has_voted = False
        self.mark = traces.mark()

    def receive(self, failure: Exception | None) -> None:
        """Set the outcome of a step, and prepare the future of the next one."""
        outcome, self.outcome = self.outcome, asyncio.get_running_loop().create_future()
        if not outcome.done():  # it is done if the request was cancelled
            outcome.set_result(failure)

    async def is_done_by_batch(self) -> bool:
        """Wait for a step of the batch. Returns False if the member has to repeat it in its own transaction.

        Raises a failure that its own transaction would not avoid, such as a lost connection.
        """
        failure = await self.outcome
        if isinstance(failure, PoolTimeout) or (failure is not None and meaning_of(failure) in ("lost", None)):
            raise failure
        return failure is None

    @property
    def is_shared(self) -> bool:
        """Whether the batch commits the row, and not the member's own transaction."""
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
    """Return the result of a step. Raises `RolledBack` if it takes longer than `seconds`; None for no limit."""
    if seconds is None:
        return await step
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError as failure:
        raise RolledBack from failure
