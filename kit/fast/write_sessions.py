"""Fast write sessions: new rows are stored without the ORM, a single one by group commit, many by one INSERT.

The single insert is for a request that writes one new row and nothing else. It needs no synchronous session, and may
share its transaction with the inserts of other requests. Everything else is done by the plain session.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.orm.attributes import instance_state

from kit.auth.ownership import check_new_row
from kit.database.databases import Database
from kit.database.sessions import WriteSession
from kit.fast.bulk_insert import insert_without_orm
from kit.fast.changing_sessions import ChangingSession
from kit.fast.deferred import REGISTRY, SessionEntry, close_at_once, new_entry
from kit.fast.insert_batches import InsertMember
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.persistent_rows import add_flushed
from kit.fast.revocable_sessions import RevocableSession, make_revocable
from kit.fast.single_insert import NewRow, SingleInsert, is_insertable
from kit.fast.write_shortcuts import WriteShortcuts
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

M = TypeVar("M")
T = TypeVar("T")


class FastWriteSession(ChangingSession):
    """A `WriteSession` that stores new rows without the ORM."""

    sync_session_class = RevocableSession
    single: SingleInsert | InsertMember | None = None
    """The transaction of the single insert, until it is committed or rolled back."""
    stored: tuple[Any, Mapping[str, Any]] | None = None
    """The row of the single insert, and its values when it was stored."""

    def __init__(self, engine: "AsyncEngine", *, shortcuts: WriteShortcuts, **restrictions: bool) -> None:
        self._engine, self.shortcuts, self.restrictions = engine, shortcuts, restrictions
        self._new: list[Any] = []
        """The rows that were added before the synchronous session was created."""
        self._committed: list[Any] = []
        """The rows that a single insert or update has committed."""
        self.entry = new_entry()

    def _open(self) -> None:
        if self.update is not None:
            self.update.give_up()
        rows = self._taken_rows()
        WriteSession.__init__(self, self._engine, **self.restrictions)
        self.is_open = True
        for row in rows:
            self.sync_session.add(row)
        if self.stored is not None:
            make_revocable(self)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        if self.update is not None and instance is self.update.row:
            return
        if self._new and any(row is instance for row in self._new):
            return
        if self.is_open or self.stored is not None or not self._is_new(instance):
            super().add(instance, _warn=_warn)
            return
        self._new.append(instance)
        REGISTRY.data[self.entry] = SessionEntry(self, REGISTRY._remove, self.entry)
        state: Any = instance_state(instance)
        state.session_id, state.modified, state._strong_obj = self.entry, True, instance  # as after `Session.add`

    def _is_new(self, instance: object) -> bool:
        """Return whether an object is a transient row, and no listener would miss the event that it is added."""
        if not isinstance(instance, Entity) or not instance_state(instance).transient:
            return False
        listeners = self.shortcuts.listeners
        watched = listeners.of_sessions.get(self.sync_session_class)
        if watched is None or sum(map(len, watched.collections)) != watched.own:
            return not listeners.listen_to_sessions_of(self.sync_session_class)
        return True

    async def insert_all(self, rows: Sequence[Entity]) -> None:
        if not await insert_without_orm(self, rows):
            await super().insert_all(rows)

    async def check_new_rows(self, rows: Sequence[Entity]) -> None:
        """Check the owners of new rows, and reset their reserved fields, as before a flush. Raises a 403."""
        if CURRENT_PRINCIPAL.get().is_superuser:
            return
        if all(check_new_row(row, is_restricted=bool(self.restrictions.get("restricted"))) for row in rows):
            return
        await self.run_sync(lambda session: session.check_writes(*rows))  # type: ignore[attr-defined]

    async def prepare_commit(self) -> None:
        """Store the changes without a COMMIT: a single row by the driver, everything else by a flush."""
        if self.update is not None:
            await self._execute_step(self.update.store(self.shortcuts.engine.dialect, has_others=bool(self._new)))
            return
        new = await self._single_row()
        if new is None:
            if self.is_open or self._new:
                await super().prepare_commit()
            return
        shares = self.shares_transaction
        self.single = self.shortcuts.transaction_for(new) if shares else self.shortcuts.own_transaction(new)
        try:
            await self.single.insert(new)
        except BaseException:
            await self._close_single()
            if self.is_open:
                self.sync_session.rollback()  # resets its state; it has no connection
            raise
        row = new.row
        self.stored = row, dict(row.__dict__)
        if self.is_open:
            add_flushed(self.sync_session, row)
            make_revocable(self)
            return
        state = instance_state(row)  # makes the row persistent, as after a flush
        state.key = new.identity_key((row.id,))
        state._commit_all(state.dict)

    async def _single_row(self) -> NewRow | None:
        """Return the new row if it is the only change of the session, and can be stored without the ORM; else None."""
        row = self._only_new() if self.shortcuts.has_single and not (self.needs_orm or self.is_ended) else None
        mapping = None if row is None else mapping_of(type(row))
        if row is None or mapping is None or self._has_listeners(mapping):
            return None
        if not CURRENT_PRINCIPAL.get().is_superuser:
            await self.check_new_rows([row])  # may set fields of the row, and may read other rows
            if self._only_new() is not row:
                return None
        if not is_insertable(row, mapping):
            return None
        try:
            return NewRow.of(row, mapping, self.shortcuts.engine.dialect)
        except Exception:  # a value that its column refuses: the ORM raises the documented exception
            return None

    def _has_listeners(self, mapping: EntityMapping) -> bool:
        """Return whether a listener would miss an INSERT of this entity by this session."""
        listeners = self.shortcuts.listeners
        if self.is_open:
            return listeners.listen_to_insert(self.sync_session, mapping.entity)
        watched = listeners.of_inserts.get((self.sync_session_class, mapping.entity))
        if watched is None or sum(map(len, watched.collections)) != watched.own or listeners.has_log():
            return listeners.listen_to_inserts_by(self.sync_session_class, mapping.entity)
        return False

    def _only_new(self) -> Any:
        """Return the new row if it is the only object in a session that has used no connection; else None."""
        if not self.is_open:
            return self._new[0] if len(self._new) == 1 and self.stored is None else None
        session = self.sync_session
        transaction = session._transaction
        if len(session._new) != 1 or session._deleted or len(session.identity_map) or transaction is None:
            return None
        is_begun = transaction._connections or transaction._parent or session._flushing
        return None if is_begun else next(iter(session._new)).obj()

    async def commit(self) -> None:
        """Commit the single insert, the single update, or the transaction of the synchronous session."""
        if self.update is not None:
            await self._commit_update()
            return
        if self._has_more_to_write():
            await self.flush()
        if self.single is None:
            if self.is_open or self._new:
                await super().commit()
            return
        await self.single.commit()
        if self.is_open:
            self.sync_session.revoke = None
            self.sync_session.commit()  # ends its transaction object; it has no connection
        self._committed += self._new
        self._new.clear()
        await self._close_single()

    async def commit_within(self, seconds: float) -> None:
        """Commit as `WriteSession.commit_within` does. A batch applies the timeout itself."""
        transaction = self.single if self.update is None else self.update.transaction
        if transaction is not None and transaction.is_shared and not self._has_more_to_write():
            await self.commit()
            return
        async with asyncio.timeout(seconds):
            await self.commit()

    def _has_more_to_write(self) -> bool:
        """Return whether anything was added or changed since the single insert."""
        if self.single is None:
            return False
        if self.is_open:
            return not self.sync_session._is_clean()
        assert self.stored is not None
        row, values = self.stored
        return bool(row.__dict__ != values)

    async def rollback(self) -> None:
        if self.update is not None:
            self.update.give_up()
        await self._close_single()
        detach(self._new)
        self._new.clear()
        if self.is_open:
            await super().rollback()

    async def close(self) -> None:
        await self._close(super().close)

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        await self._close(partial(super().__aexit__, kind, failure, trace))

    async def _close(self, close_open_session: Callable[[], Awaitable[None]]) -> None:
        try:
            if self.single is not None:
                await self._close_single()
            if self.update is not None:
                await self._close_update()
        finally:
            self._taken_rows()
            is_used = self.user is not None  # by another task, for which it has to wait
            if self.is_open and (is_used or not close_at_once(self.sync_session, self.shortcuts.listeners)):
                await close_open_session()

    def _taken_rows(self) -> list[Any]:
        """Detach and return the rows that were added, or committed, before the synchronous session was created."""
        rows, self._committed, self._new = [*self._committed, *self._new], [], []
        REGISTRY.data.pop(self.entry, None)
        detach(rows)
        return rows

    async def _close_single(self) -> None:
        """End the transaction of the single insert: roll it back unless it was committed."""
        if self.single is not None:
            single, self.single, self.stored = self.single, None, None
            if self.is_open:
                self.sync_session.revoke = None
            await single.close()


def detach(rows: Iterable[Any]) -> None:
    for row in rows:
        instance_state(row)._detach()


def open_write(
    database: Database, shortcuts: WriteShortcuts, *, restricted: bool = False, restricted_reads: bool = False
) -> WriteSession:
    """Return a write session with shortcuts. If the event loop does not use the primary engines, it has none."""
    if asyncio._get_running_loop() is not database.owner and database.engines is not database.primary:
        return database.open_write(restricted=restricted, restricted_reads=restricted_reads)
    return FastWriteSession(
        database.primary.writer, restricted=restricted, restricted_reads=restricted_reads, shortcuts=shortcuts
    )
