"""Group commit: inserts that arrive together share one transaction.

For each kind of row (an entity, with an id or without):

    idle --insert--> the leader inserts its row at once, in a transaction of its own
    a transaction is open --insert--> a batch collects members; it starts when a transaction of the kind ends,
                                      when it is full, or after MAX_WAIT_SECONDS

After a batch was rolled back, each row of the kind has a transaction of its own for ALONE_SECONDS. So other requests
make a request run again at most once.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

from sqlalchemy.engine import Engine

from kit.database.errors import RolledBack
from kit.fast.batches import BatchMember, InsertBatch
from kit.fast.single_insert import NewRow, SingleInsert
from kit.http.events import COUNTS
from kit.models.entities import Entity

MAX_ROWS = 100
"""The size of a full batch."""
MAX_WAIT_SECONDS = 0.05
"""The longest time that a batch waits for an open transaction to end."""
ALONE_SECONDS = 1.0

RowKind = tuple[type[Entity], bool]
"""An entity, and whether its row has an id."""


class Leader(SingleInsert):
    """A single insert that starts while no transaction of its kind is open. At its end the collecting batch starts."""

    def __init__(self, engine: Engine, at_end: Callable[[], None]) -> None:
        super().__init__(engine)
        self.at_end = at_end

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            self.at_end()


class GroupCommit:
    """The open transactions and the collecting batches of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.open: Counter[RowKind] = Counter()
        """The number of open transactions of each kind."""
        self.collecting: dict[RowKind, InsertBatch] = {}
        self.alone_until: defaultdict[RowKind, float] = defaultdict(float)
        self.loop: asyncio.AbstractEventLoop | None = None

    def transaction_for(self, new: NewRow) -> SingleInsert | BatchMember:
        """Return the transaction that stores a new row."""
        self._enter_loop()
        kind = type(new.row), new.row.id is not None
        if self.alone_until[kind] > asyncio.get_running_loop().time():
            return SingleInsert(self.engine)
        if self.open[kind] == 0:
            self.open[kind] = 1
            COUNTS["group", 1] += 1
            return Leader(self.engine, partial(self._end, kind))
        return self._join(kind, new)

    def _enter_loop(self) -> None:
        """Discard the transactions and batches of a previous event loop."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.open, self.collecting, self.alone_until = loop, Counter(), {}, defaultdict(float)

    def _join(self, kind: RowKind, new: NewRow) -> BatchMember:
        """Add a row to the collecting batch of its kind, which starts when it is full or after MAX_WAIT_SECONDS."""
        batch = self.collecting.get(kind)
        if batch is None:
            batch = self.collecting[kind] = InsertBatch(self.engine)
            asyncio.get_running_loop().call_later(MAX_WAIT_SECONDS, self._start, kind, batch)
        member = batch.join(new)
        if len(batch.members) == MAX_ROWS:
            self._start(kind, batch)
        return member

    def _start(self, kind: RowKind, batch: InsertBatch) -> None:
        if self.collecting.get(kind) is batch:
            del self.collecting[kind]
            self.open[kind] += 1
            batch.task = asyncio.create_task(self._run(kind, batch))

    async def _run(self, kind: RowKind, batch: InsertBatch) -> None:
        COUNTS["group", len(batch.members)] += 1
        try:
            failure = await batch.run() if batch.members else None
            if isinstance(failure, RolledBack):
                self.alone_until[kind] = asyncio.get_running_loop().time() + ALONE_SECONDS
        finally:
            self._end(kind)

    def _end(self, kind: RowKind) -> None:
        self.open[kind] -= 1
        if kind in self.collecting:
            self._start(kind, self.collecting[kind])
