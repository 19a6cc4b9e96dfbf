"""Batches: inserts of several requests in one transaction, which is committed if all members vote for it.

    collecting --start--> inserting --all rows stored--> voting --all members have voted--> committing --> committed
                          inserting --a row is refused--> rolled back: each member inserts its row in its transaction
                          voting --a member is closed--> rolled back: the other requests run again (RolledBack)
                          inserting --too slow--> rolled back: each member inserts its row in its transaction
                          committing --refused--> rolled back: all requests run again (RolledBack)

Invariant: for each request the result is the same as with a transaction of its own. A member sees only its own row, and
its `commit` returns after the COMMIT. A member that is closed before the start is removed.
"""

import asyncio
from contextlib import suppress

from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kit.database.errors import FAILURES, RolledBack, may_be_committed, meaning_of
from kit.fast.single_insert import NewRow, SingleInsert
from kit.http import traces
from kit.operations.unit_of_work import COMMIT_TIMEOUT

LOCK_TIMEOUT_SECONDS = 0.05
"""After this time a batch is rolled back, and each member waits for the lock in its own transaction.

That holds for deferred constraints too.
"""
MAX_SECONDS = 0.5
"""The longest time of a batch for its INSERTs, and for its deferred constraints, on PostgreSQL.

Triggers of its rows run one after the other. In transactions of their own, they run at the same time.
"""


class InsertBatch:
    """The transaction that several members share."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.transaction = engine, SingleInsert(engine)
        self.members: list[BatchMember] = []
        self.task: asyncio.Task[None] | None = None
        """Runs the transaction. Once it is set, no member can join."""
        self.missing_votes = self.present = 0
        self.decision: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether to commit: true when all members have voted, false as soon as one is closed without a vote."""

    def join(self, new: NewRow) -> "BatchMember":
        """Add a member for a new row."""
        self.members.append(member := BatchMember(self, new))
        self.missing_votes += 1
        self.present += 1
        return member

    async def run(self) -> Exception | None:
        """Store and commit all rows, and report the outcome to each member. Returns the failure, if any."""
        traces.share([member.mark for member in self.members])
        failure: Exception | None = RolledBack()
        try:
            failure = await self._attempt()
        finally:
            self._report(failure)
        return failure

    async def _attempt(self) -> Exception | None:
        """Store and commit the rows, or roll back. Returns the failure, if any."""
        try:
            await self._store()
        except BaseException as failure:
            with suppress(*FAILURES):  # the ROLLBACK fails if the connection is lost; the transaction is gone anyway
                await self.transaction.close()
            if isinstance(failure, Exception):
                return failure
            raise
        return None

    async def _store(self) -> None:
        """Insert the rows, wait for the votes, and commit. Raises the failure of the database, or `RolledBack`."""
        seconds = MAX_SECONDS if self.engine.dialect.name == "postgresql" else None
        try:
            new = [member.new for member in self.members]
            await self.transaction.insert(*new, lock_timeout=LOCK_TIMEOUT_SECONDS, seconds=seconds)
        except TimeoutError as failure:
            raise RolledBack from failure
        self._report(None)
        if not await self.decision:
            raise RolledBack
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await self.transaction.commit()
        except FAILURES as failure:
            if may_be_committed(failure):
                raise
            raise RolledBack from failure  # a deferred constraint waits, or does not say which row violates it

    def _report(self, failure: Exception | None) -> None:
        for member in self.members:
            member.receive(failure)

    def vote(self) -> None:
        """Count the vote of a member for the COMMIT."""
        self.missing_votes -= 1
        if self.missing_votes == 0 and not self.decision.done():
            self.decision.set_result(True)

    def remove(self, member: "BatchMember") -> None:
        """Remove a member that has not voted."""
        self.present -= 1
        if self.task is None:
            self.members.remove(member)
            self.missing_votes -= 1
            return
        if not self.decision.done():
            self.decision.set_result(False)
        if self.present == 0:
            self.task.cancel()


class BatchMember:
    """A row in a batch, with the interface of a `SingleInsert`."""

    def __init__(self, batch: InsertBatch, new: NewRow) -> None:
        self.batch, self.new = batch, new
        self.own: SingleInsert | None = None
        """The row's own transaction, if the batch could not store it."""
        self.outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        """The failure, or None, of the next step of the batch: first of the INSERT, then of the COMMIT."""
        self.has_voted = False
        self.mark = traces.mark()

    def receive(self, failure: Exception | None) -> None:
        """Resolve the outcome of a step, and wait for the next."""
        outcome, self.outcome = self.outcome, asyncio.get_running_loop().create_future()
        if not outcome.done():  # it is done if the request was cancelled
            outcome.set_result(failure)

    async def insert(self, new: NewRow) -> None:
        failure = await self.outcome
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
        outcome, self.has_voted = self.outcome, True
        self.batch.vote()
        if failure := await outcome:
            raise failure

    async def close(self) -> None:
        if self.own:
            await self.own.close()
        elif not self.has_voted:
            self.batch.remove(self)
