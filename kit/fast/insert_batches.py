"""Insert batches: new rows of several requests are inserted in one transaction.

collecting --start--> inserting --all rows stored--> stored (see `batches`)
                      inserting --a row is refused--> rolled back: each member inserts its row in its transaction
                      inserting --too slow--> rolled back: all requests run again (RolledBack)
"""

from sqlalchemy.engine import Engine

from kit.database.errors import RolledBack
from kit.fast.batches import LOCK_TIMEOUT_SECONDS, Batch, Member
from kit.fast.single_insert import NewRow, SingleInsert


class InsertBatch(Batch):
    """The transaction of several new rows of one entity, whose INSERTs have the same text."""

    transaction: SingleInsert
    members: list["InsertMember"]  # type: ignore[assignment]  # of this batch

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, SingleInsert(engine))

    async def store(self) -> None:
        new = [member.new for member in self.members]
        try:
            await self.transaction.insert(*new, lock_timeout=LOCK_TIMEOUT_SECONDS, seconds=self.seconds)
        except TimeoutError as failure:
            raise RolledBack from failure
        self.report(None)


class InsertMember(Member):
    """A new row in a batch, with the interface of a `SingleInsert`."""

    own: SingleInsert | None

    def __init__(self, batch: InsertBatch, new: NewRow) -> None:
        super().__init__(batch)
        self.new = new

    async def insert(self, new: NewRow) -> None:
        if not await self.is_done_by_batch():
            self.own = SingleInsert(self.batch.engine)
            await self.own.insert(new)
