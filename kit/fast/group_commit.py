"""Group commit: inserts and updates that arrive together share one transaction.

For each kind of member (an entity, and what happens to its rows):

    idle --member--> the leader starts at once, in a transaction of its own. If the last transaction was shared, a
                     batch starts in the next iteration of the event loop, which other members join
    a transaction is open --member--> a batch collects members; it starts when a transaction of the kind ends,
                                      when it is full, or after MAX_WAIT_SECONDS

After a batch was rolled back, each member of the kind has a transaction of its own for ALONE_SECONDS. So other requests
make a request run again at most once.
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
"""The size of a full batch."""
MAX_WAIT_SECONDS = 0.05
"""The longest time that a batch waits for an open transaction to end."""
ALONE_SECONDS = 1.0

B = TypeVar("B", bound=Batch)
T = TypeVar("T", bound=DriverTransaction)
Kind = Hashable
"""An entity and whether its new rows have ids, or the mapping of an entity whose rows are changed."""


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
        """The kinds whose last transaction had several members."""
        self.alone_until: defaultdict[Kind, float] = defaultdict(float)

    def transaction_for(self, new: NewRow) -> SingleInsert | InsertMember:
        """Return the transaction that stores a new row."""
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
        """Return the transaction that changes the row with this id. A batch has each row once."""
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
        """Return whether the members of a kind have transactions of their own at the moment."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:  # discards the transactions and batches of a previous event loop
            self.loop = loop
            self._forget()
        return kind in self.alone_until and self.alone_until[kind] > loop.time()

    def _leads(self, kind: Kind) -> bool:
        return self.open[kind] == 0 and kind not in self.shared

    def _leader(self, kind: Kind, transaction: T) -> T:
        """Return a transaction that is open for its kind. At its end the collecting batch starts."""
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
