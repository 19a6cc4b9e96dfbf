"""Group commit: inserts that arrive together share one transaction.

For each kind of row (an entity, with an id or without):

    idle --insert--> the leader inserts alone, at once
    a transaction is open --insert--> a batch collects; it starts when a transaction of the kind ends,
                                      when it is full, or after MAX_WAIT_SECONDS

After the COMMIT of a batch was refused, all rows of the kind are stored alone for APART_SECONDS.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

from sqlalchemy.engine import Engine

from kit.database.errors import Undone
from kit.fast.batches import Batch, Member
from kit.fast.single_insert import NewRow, SingleInsert
from kit.models.entities import Entity

MAX_ROWS = 100
"""Rows that one transaction stores."""
MAX_WAIT_SECONDS = 0.05
"""For the open transaction: a slow one does not hold up the next for longer."""
APART_SECONDS = 1.0

Kind = tuple[type[Entity], bool]


class Leader(SingleInsert):
    """An insert that finds no open transaction of its kind. The batch that collects meanwhile starts at its end."""

    def __init__(self, engine: Engine, at_end: Callable[[], None]) -> None:
        super().__init__(engine)
        self.at_end = at_end

    async def leave(self) -> None:
        try:
            await super().leave()
        finally:
            self.at_end()


class GroupCommit:
    """The transactions and the batches of one database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.open: Counter[Kind] = Counter()
        """How many transactions of each kind are open."""
        self.collecting: dict[Kind, Batch] = {}
        self.apart_until: defaultdict[Kind, float] = defaultdict(float)
        self.loop: asyncio.AbstractEventLoop | None = None

    def place(self, new: NewRow) -> SingleInsert | Member:
        """The transaction in which a row is stored."""
        self._enter_loop()
        kind = type(new.row), new.row.id is None
        if self.apart_until[kind] > asyncio.get_running_loop().time():
            return SingleInsert(self.engine)
        if self.open[kind] == 0:
            self.open[kind] = 1
            return Leader(self.engine, partial(self._end, kind))
        return self._join(kind, new)

    def _enter_loop(self) -> None:
        """Forget the transactions and batches of an event loop that has ended."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.open, self.collecting, self.apart_until = loop, Counter(), {}, defaultdict(float)

    def _join(self, kind: Kind, new: NewRow) -> Member:
        batch = self.collecting.get(kind)
        if batch is None:
            batch = self.collecting[kind] = Batch(self.engine)
            asyncio.get_running_loop().call_later(MAX_WAIT_SECONDS, self._start, kind, batch)
        member = batch.join(new)
        if len(batch.members) == MAX_ROWS:
            self._start(kind, batch)
        return member

    def _start(self, kind: Kind, batch: Batch) -> None:
        if self.collecting.get(kind) is batch:
            del self.collecting[kind]
            self.open[kind] += 1
            batch.task = asyncio.create_task(self._run(kind, batch))

    async def _run(self, kind: Kind, batch: Batch) -> None:
        try:
            failure = await batch.run() if batch.members else None
            if isinstance(failure, Undone) and failure.refused:
                self.apart_until[kind] = asyncio.get_running_loop().time() + APART_SECONDS
        finally:
            self._end(kind)

    def _end(self, kind: Kind) -> None:
        self.open[kind] -= 1
        if kind in self.collecting:
            self._start(kind, self.collecting[kind])
