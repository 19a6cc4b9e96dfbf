"""Row changes: the row that an update handler reads and changes, and the transaction of its UPDATE."""

from typing import Any, NoReturn

from sqlalchemy.engine.interfaces import Dialect

from kit.database.errors import RolledBack
from kit.fast.mappings import EntityMapping
from kit.fast.single_update import NeedsORM, SingleUpdate, update_of
from kit.fast.update_batches import UpdateMember
from kit.fast.update_handlers import UpdateHandler


class RowChange:
    """A row that is locked, changed and stored without the ORM.

    If the session is used for anything else, the transaction is rolled back, and the request runs again by the ORM.
    """

    def __init__(
        self, transaction: SingleUpdate | UpdateMember, mapping: EntityMapping, handler: UpdateHandler
    ) -> None:
        self.transaction, self.mapping, self.handler = transaction, mapping, handler
        self.row: Any = None
        self.is_given_up = False

    async def lock(self, ident: Any) -> Any:
        self.row = await self.transaction.lock(ident)
        return self.row

    def give_up(self) -> NoReturn:
        """Disable the shortcut for this operation. Raises `RolledBack`, so that the request runs again by the ORM."""
        self.handler.is_possible, self.is_given_up = False, True
        raise RolledBack

    async def store(self, dialect: Dialect, *, has_others: bool) -> None:
        """Execute the UPDATE of the row if it was changed. Calls `give_up` if the request stores other rows too."""
        if self.is_given_up or has_others:
            self.give_up()
        if self.row is None:
            return
        try:
            update = update_of(self.row, self.mapping, dialect)
        except NeedsORM:
            self.give_up()
        if update is not None:
            await self.transaction.store(update)

    async def commit(self) -> None:
        await self.transaction.commit()
        await self.transaction.close()  # lets a collecting batch start

    async def close(self) -> None:
        await self.transaction.close()
