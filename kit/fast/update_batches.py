"""Update batches: rows that several requests change are locked by one SELECT, and stored in one transaction.

    collecting --start--> locking --rows locked--> changing --no member is undecided--> storing
                          locking --failed--> rolled back: each member locks its row in its own transaction
                          storing --all rows stored--> stored (see `batches`)
                          storing --a row is refused--> rolled back: each member stores its row in its own transaction

A handler changes its row while the batch holds the lock. Then its member decides: it stores the change, or leaves the
batch, because the row is unchanged, the handler has failed, or the row was not locked. SKIP LOCKED skips rows that
other transactions have locked, so that a batch never waits for a row, and cannot deadlock. The member of a skipped row
waits for the lock in its own transaction.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Engine

from kit.database.errors import RolledBack
from kit.fast.batches import LOCK_TIMEOUT_SECONDS, Batch, Member, within
from kit.fast.mappings import EntityMapping
from kit.fast.read_sessions import detached
from kit.fast.single_update import CompiledUpdate, RowUpdate, SingleUpdate


class UpdateBatch(Batch):
    """The transaction in which several rows of one entity are read and changed."""

    transaction: SingleUpdate
    members: list["UpdateMember"]  # type: ignore[assignment]  # of this batch

    def __init__(self, engine: Engine, mapping: EntityMapping) -> None:
        super().__init__(engine, SingleUpdate(engine, mapping))
        self.mapping = mapping
        self.undecided = 0
        """The number of members that have neither stored a change nor left."""
        self.all_decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_storing = False

    async def store(self) -> None:
        idents = [member.ident for member in self.members]
        step = self.transaction.lock_all(idents, lock_timeout=LOCK_TIMEOUT_SECONDS, statement_timeout=self.seconds)
        rows = await step
        for member in self.members:
            member.values = rows.get(member.ident)
        self.report(None)
        await self.all_decided
        self.is_storing = True
        changes: defaultdict[CompiledUpdate, list[RowUpdate]] = defaultdict(list)
        for member in self.members:
            assert member.change is not None
            changes[member.change.statement].append(member.change)
        for alike in changes.values():
            await within(self.seconds, self.transaction.store_all(alike))
        self.report(None)

    def decide(self) -> None:
        """Count the decision of a member to store a change or to leave."""
        self.undecided -= 1
        if self.undecided == 0 and self.task is not None and not self.all_decided.done():
            self.all_decided.set_result(None)

    def remove(self, member: Member) -> None:
        """Remove a member that has not voted. Before its change is stored, this has no effect on other members."""
        assert isinstance(member, UpdateMember)
        if self.is_storing:
            super().remove(member)
            return
        self.members.remove(member)
        self.missing_votes -= 1
        if member.change is None:
            self.decide()
        if self.task is not None and not self.members:
            self.task.cancel()


class UpdateMember(Member):
    """A row that is changed in a batch, with the interface of a `SingleUpdate`."""

    batch: UpdateBatch
    own: SingleUpdate | None

    def __init__(self, batch: UpdateBatch, ident: Any) -> None:
        super().__init__(batch)
        batch.undecided += 1
        self.ident = ident
        self.values: Mapping[str, Any] | None = None
        """The values of the locked row; None if it was not locked or does not exist."""
        self.change: RowUpdate | None = None

    async def lock(self, ident: Any) -> Any:
        """Return the row with this id, locked; None if it does not exist."""
        if await self.is_done_by_batch():
            if self.values is not None:
                mapping = self.batch.mapping
                return detached(mapping, mapping.identity_key((ident,)), self.values)
            self.batch.remove(self)
        return await self._lock_alone()

    async def store(self, change: RowUpdate) -> None:
        """Execute the UPDATE. If the batch fails, repeat it in the member's own transaction.

        Raises `RolledBack` if the row has changed in between, so that the request runs again.
        """
        if self.own is None:
            self.change = change
            self.batch.decide()
            if await self.is_done_by_batch():
                change.finish()
                return
            again = await self._lock_alone()
            if again is None or any(vars(again)[name] != value for name, value in (self.values or {}).items()):
                raise RolledBack
        assert self.own is not None
        await self.own.store(change)

    async def commit(self) -> None:
        if self.own is None and self.change is None:
            self.has_voted = True
            self.batch.remove(self)  # nothing to commit
            return
        await super().commit()

    async def _lock_alone(self) -> Any:
        self.own = SingleUpdate(self.batch.engine, self.batch.mapping)
        return await self.own.lock(self.ident)
