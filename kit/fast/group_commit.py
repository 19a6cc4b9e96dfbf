"""Group commit: inserts and updates that arrive together share one transaction.

For each kind of write (a `Kind`: INSERT or UPDATE, and the entity):

    idle --write--> it starts at once in its own transaction, as the leader. If the last transaction was shared, a
                    batch starts in the next iteration of the event loop, and other writes join it until then
    a transaction is open --write--> a batch collects writes; it starts when a transaction of the kind ends,
                                     when it is full, or after MAX_WAIT_SECONDS

After a batch was rolled back, all writes of the kind have their own transactions for ALONE_SECONDS. Therefore a request
is run again because of other requests at most once.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.engine import Engine

from kit.database.errors import RolledBack
from kit.fast.batches import Batch
from kit.fast.insert_batches import InsertBatch, InsertMember
from kit.fast.mappings import EntityMapping
from kit.fast.single_insert import DriverTransaction, NewRow, SingleInsert
from kit.fast.single_update import LeadingUpdate, SingleUpdate
from kit.fast.update_batches import UpdateBatch, UpdateMember
from kit.http.events import COUNTS

MAX_ROWS = 100
"""The number of members of a full batch."""
MAX_WAIT_SECONDS = 0.05
"""The maximum time that a batch waits for an open transaction to end."""
ALONE_SECONDS = 1.0

B = TypeVar("B", bound=Batch)
T = TypeVar("T", bound=DriverTransaction)
Kind = Hashable
"""The key of writes that can share a batch.

For INSERTs it is the entity, and whether the new rows have ids; for UPDATEs it is the mapping of the entity.
"""


class GroupCommit:
    """The open transactions and the collecting batches of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop: asyncio.AbstractEventLoop | None = None
        self._forget()

    def _forget(self) -> None:
        self.open: Counter[Kind] = Counter()
        """The number of open transactions of each kind."""
        self.collecting: dict[Kind, Any] = {}
        self.shared: set[Kind] = set()
        """The kinds whose last transaction was a batch with several members."""
        self.alone_until: defaultdict[Kind, float] = defaultdict(float)

    def transaction_for(self, new: NewRow) -> SingleInsert | InsertMember:
        """Return the transaction that is to store a new row: its own, or the member of a batch."""
        kind = type(new.row), new.row.id is not None
        if self._is_alone(kind):
            return SingleInsert(self.engine)
        if self._leads(kind):
            return self._leader(kind, SingleInsert(self.engine))
        batch: InsertBatch = self._batch(kind, partial(InsertBatch, self.engine))
        member = InsertMember(batch, new)
        self._start_if_full(kind, batch)
        return member

    def change_of(self, mapping: EntityMapping, ident: Any) -> SingleUpdate | UpdateMember:
        """Return the transaction that is to change the row with this id: its own, or the member of a batch.

        If the batch already has a member for this row, the row gets its own transaction.
        """
        if self._is_alone(mapping):
            return SingleUpdate(self.engine, mapping)
        if self._leads(mapping):
            return self._leader(mapping, LeadingUpdate(self.engine, mapping))
        batch: UpdateBatch = self._batch(mapping, partial(UpdateBatch, self.engine, mapping))
        if any(member.ident == ident for member in batch.members):
            return SingleUpdate(self.engine, mapping)
        member = UpdateMember(batch, ident)
        self._start_if_full(mapping, batch)
        return member

    def _is_alone(self, kind: Kind) -> bool:
        """Return whether writes of this kind currently get their own transactions, because a batch was rolled back."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:  # discards the transactions and batches of a previous event loop
            self.loop = loop
            self._forget()
        return kind in self.alone_until and self.alone_until[kind] > loop.time()

    def _leads(self, kind: Kind) -> bool:
        return self.open[kind] == 0 and kind not in self.shared

    def _leader(self, kind: Kind, transaction: T) -> T:
        """Count a leader's transaction as open, and return it. When it ends, the collecting batch starts."""
        self.open[kind] += 1
        COUNTS["group", 1] += 1
        transaction.at_end = partial(self._end, kind)
        return transaction

    def _batch(self, kind: Kind, make: Callable[[], B]) -> B:
        """Return the collecting batch of a kind, which starts when it is full or after MAX_WAIT_SECONDS."""
        batch: B | None = self.collecting.get(kind)
        if batch is None:
            batch = self.collecting[kind] = make()
            loop = asyncio.get_running_loop()
            if self.open[kind] == 0:
                loop.call_soon(self._start, kind, batch)
            else:
                loop.call_later(MAX_WAIT_SECONDS, self._start, kind, batch)
        return batch

    def _start_if_full(self, kind: Kind, batch: Batch) -> None:
        if len(batch.members) == MAX_ROWS:
            self._start(kind, batch)

    def _start(self, kind: Kind, batch: Batch) -> None:
        if self.collecting.get(kind) is batch:
            del self.collecting[kind]
            self.open[kind] += 1
            batch.task = asyncio.create_task(self._run(kind, batch))

    async def _run(self, kind: Kind, batch: Batch) -> None:
        number = len(batch.members)
        COUNTS["group", number] += 1
        (self.shared.add if number > 1 else self.shared.discard)(kind)
        try:
            failure = await batch.run() if number else None
            if isinstance(failure, RolledBack):
                self.alone_until[kind] = asyncio.get_running_loop().time() + ALONE_SECONDS
        finally:
            self._end(kind)

    def _end(self, kind: Kind) -> None:
        self.open[kind] -= 1
        if kind in self.collecting:
            self._start(kind, self.collecting[kind])
