"""Sessions for update handlers: the row that such a handler changes is locked and stored without the ORM."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from sqlalchemy.orm.attributes import instance_state

from kit.database.errors import RolledBack
from kit.fast.deferred import REGISTRY, SessionEntry
from kit.fast.locked_reads import LockingSession
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.persistent_rows import leave_untracked
from kit.fast.row_changes import RowChange
from kit.fast.update_handlers import UpdateHandler
from kit.http.principals import CURRENT_PRINCIPAL

M = TypeVar("M")
T = TypeVar("T")


class ChangingSession(LockingSession):
    """A `WriteSession` that serves update handlers without the ORM, by a `RowChange`."""

    single: Any
    stored: Any
    _new: list[Any]
    _committed: list[Any]
    needs_orm = False
    """Whether the response shows related rows. The ORM loads them, and has to store the row in the same transaction."""
    update_handler: UpdateHandler | None = None
    """The handler of the operation, which may be an update handler; None outside of operations with a shortcut."""
    update: RowChange | None = None
    """The row that is changed without the ORM, from its lock to the end of its transaction."""

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        """Return the row as `WriteSession.get` does. That of an update handler is attached without the ORM."""
        mapping = mapping_of(entity)
        if mapping is None or options or type(ident) is not mapping.ident_type or not self._may_update(mapping):
            return await super().get(entity, ident, **options)
        assert self.update_handler is not None
        transaction = self.shortcuts.change_of(mapping, ident)
        self.update = RowChange(transaction, mapping, self.update_handler)
        row: M | None = await self._execute_step(self.update.lock(ident))
        if row is not None:
            REGISTRY.data[self.entry] = SessionEntry(self, REGISTRY._remove, self.entry)
            state: Any = instance_state(row)
            state.session_id = self.entry
            leave_untracked(state)
        return row

    async def _execute_step(self, step: Awaitable[T]) -> T:
        """Return the result of a step of `update`. If the step fails, roll `update` back."""
        try:
            return await step
        except RolledBack:
            raise
        except BaseException:
            await self._close_update()
            raise

    def _may_update(self, mapping: EntityMapping) -> bool:
        """Return whether a row of this entity can be changed without the ORM, by a session that was not used yet."""
        handler, is_used = self.update_handler, self.is_open or self._new or self.single or self.stored or self.update
        is_used = is_used or self.is_ended
        if handler is None or is_used or self.needs_orm or not (handler.is_possible and self.shares_transaction):
            return False
        is_plain = self.shortcuts.has_update and mapping.is_changeable and mapping.is_shareable
        if not is_plain or self.shortcuts.listeners.listen_to_updates_by(self.sync_session_class, mapping.entity):
            return False
        is_free = not mapping.entity.reserved and not any(self.restrictions.values())
        return is_free or CURRENT_PRINCIPAL.get().is_superuser

    async def _commit_update(self) -> None:
        assert self.update is not None
        await self._execute_step(self.update.store(self.shortcuts.engine.dialect, has_others=bool(self._new)))
        await self._execute_step(self.update.commit())
        self._committed += [] if self.update.row is None else [self.update.row]
        self.update = None

    async def _close_update(self) -> None:
        """End the transaction of `update`: roll it back unless it was committed."""
        assert self.update is not None
        update, self.update = self.update, None
        if update.row is not None:
            instance_state(update.row)._detach()
        await update.close()
