"""Write sessions that store new rows past the ORM: a single one in a shared transaction, many by one INSERT.

A single new row that is all there is to write is stored by an INSERT that needs no ORM, and may share its transaction
with those of other requests. Everything else is left to the plain session.
"""

from asyncio import _get_running_loop
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, bindparam, select, util
from sqlalchemy.orm import Session, SessionTransaction, make_transient
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value

from kit.auth.ownership import GuardedSession, check_new_row
from kit.database.databases import Database
from kit.database.sessions import WriteSession
from kit.fast.batches import Member
from kit.fast.bulk_insert import are_alike, insert_alike
from kit.fast.deferred import DeferredSession, close_at_once
from kit.fast.group_commit import GroupCommit
from kit.fast.listeners import Listeners
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.read_sessions import loaded
from kit.fast.single_insert import NewRow, SingleInsert, is_insertable
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

M = TypeVar("M")


class WriteShortcuts:
    """What the write sessions of a database share. Without group commit each insert has its own transaction."""

    def __init__(
        self, engine: "AsyncEngine", *, group: bool, get: bool = True, single: bool = True, bulk: bool = True
    ) -> None:
        self.engine, self.listeners = engine, Listeners(engine.sync_engine)
        self.group_commit = GroupCommit(engine.sync_engine) if group else None
        self.has_get, self.has_single, self.has_bulk = get, single, bulk

    def place(self, new: NewRow) -> SingleInsert | Member:
        """The transaction in which a row is stored."""
        return self.group_commit.place(new) if self.group_commit else SingleInsert(self.engine.sync_engine)


class RevocableSession(GuardedSession):
    """The synchronous session of a `FastWriteSession`.

    After a single insert it has no connection of its own. If a statement or a flush needs one after all, the insert is
    revoked first, so that the row and the statement are in one transaction.
    """

    revoke: Callable[[], tuple[Any, dict[str, Any]]] | None = None
    """Revokes the insert. Returns the row, which is new again, and what was changed in it since the insert."""

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        if self.revoke is not None and not self._is_clean():
            self._insert_again()
        super().flush(objects)

    def begin(self, nested: bool = False) -> SessionTransaction:
        self._insert_again()
        return super().begin(nested)

    def _connection_for_bind(self, *bind: Any, **options: Any) -> Any:
        self._insert_again()
        return super()._connection_for_bind(*bind, **options)

    def _insert_again(self) -> None:
        if self.revoke is None:
            return
        revoke, self.revoke = self.revoke, None
        row, changes = revoke()
        super().flush()
        for name, value in changes.items():
            set_committed_value(row, name, value)
            flag_modified(row, name)


class FastWriteSession(DeferredSession, WriteSession):
    """A `WriteSession` that stores new rows past the ORM."""

    sync_session_class = RevocableSession
    single: SingleInsert | Member | None = None
    """The transaction of the single row that this session has stored."""
    stored: tuple[Any, Mapping[str, Any]] | None = None
    """That row, and its values when it was stored."""

    def __init__(self, engine: "AsyncEngine", *, shortcuts: WriteShortcuts, **restrictions: bool) -> None:
        self._engine, self.shortcuts, self.restrictions = engine, shortcuts, restrictions
        self._new: list[Any] = []
        """The rows that were added before the session was opened."""
        self._committed: list[Any] = []
        """Those of them that were committed already."""

    def _open(self) -> None:
        WriteSession.__init__(self, self._engine, **self.restrictions)
        self.is_open = True
        rows, self._committed, self._new = [*self._committed, *self._new], [], []
        for row in rows:
            self.sync_session.add(row)
        if self.stored is not None:
            self._make_revocable()

    def _make_revocable(self) -> None:
        """If the session needs a connection before the COMMIT, the single insert is revoked."""
        assert self.stored is not None
        row, stored = self.stored
        self.sync_session.revoke = lambda: util.await_only(self._revoke(row, stored))

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        """As `WriteSession.get`: the row is locked, and in the session as if the ORM had loaded it."""
        mapping, is_restricted = mapping_of(entity), any(self.restrictions.values())
        if mapping is None or options or type(ident) is not mapping.ident_type or not self.shortcuts.has_get:
            return await super().get(entity, ident, **options)
        session = self.sync_session
        is_known = mapping.identity_key((ident,)) in session.identity_map
        is_noticed = (
            is_known
            or (is_restricted and not CURRENT_PRINCIPAL.get().is_superuser)
            or not session._is_clean()  # it is flushed first
            or self.shortcuts.listeners.hear_read(session, entity)
        )
        if is_noticed:
            return await super().get(entity, ident)
        return await self.run_sync(locked, mapping, ident)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        if self.is_open or self.stored is not None or not self._is_new(instance):
            super().add(instance, _warn=_warn)
        elif not self._new or not any(row is instance for row in self._new):
            self._new.append(instance)

    def _is_new(self, instance: object) -> bool:
        if not isinstance(instance, Entity) or not instance_state(instance).transient:
            return False
        listeners = self.shortcuts.listeners
        watched = listeners.of_sessions.get(self.sync_session_class)
        if watched is None or sum(map(len, watched.collections)) != watched.own:
            return not listeners.hear_session_class(self.sync_session_class)
        return True

    async def insert_all(self, rows: Sequence[Entity]) -> None:
        mapping = mapping_of(type(rows[0])) if rows and self.shortcuts.has_bulk else None
        if mapping is None or self.shortcuts.listeners.hear_insert(self.sync_session, mapping.entity):
            await super().insert_all(rows)
            return
        await self.flush()
        if not are_alike(rows, mapping):
            await super().insert_all(rows)
            return
        await self._check_writes(rows)
        await self.run_sync(lambda session: insert_alike(session.trusted_connection(), rows, mapping))  # type: ignore[attr-defined]
        self.add_all(rows)

    async def _check_writes(self, rows: Sequence[Entity]) -> None:
        """Check what the session checks before a flush."""
        if CURRENT_PRINCIPAL.get().is_superuser:
            return
        if all(check_new_row(row, is_restricted=bool(self.restrictions.get("restricted"))) for row in rows):
            return
        await self.run_sync(lambda session: session.check_writes(*rows))  # type: ignore[attr-defined]

    async def prepare_commit(self) -> None:
        new = await self._single_row()
        if new is None:
            if self.is_open or self._new:
                await super().prepare_commit()
            return
        self.single = self.shortcuts.place(new)
        try:
            await self.single.insert(new)
        except BaseException:
            await self._leave_single()
            if self.is_open:
                self.sync_session.rollback()  # of its own state: it has no connection
            raise
        row = new.row
        self.stored = row, dict(row.__dict__)
        if self.is_open:
            flushed(self.sync_session, row)
            self._make_revocable()
            return
        state = instance_state(row)  # from here on the row is one that a session has stored
        state.key = state.mapper._identity_key_from_state(state)
        state._commit_all(state.dict)

    async def _single_row(self) -> NewRow | None:
        """The new row that is all there is to write; None if there is more or less, or if it needs the ORM."""
        row = self._only_new() if self.shortcuts.has_single else None
        mapping = None if row is None else mapping_of(type(row))
        if row is None or mapping is None or self._is_heard(mapping):
            return None
        if not CURRENT_PRINCIPAL.get().is_superuser:
            await self._check_writes([row])  # it may set fields, and it may read
            if self._only_new() is not row:
                return None
        if not is_insertable(row, mapping):
            return None
        try:
            return NewRow.of(row, mapping, self.shortcuts.engine.dialect)
        except Exception:  # the ORM raises it as it should be
            return None

    def _is_heard(self, mapping: EntityMapping) -> bool:
        """Whether somebody listens to an INSERT of this entity by this session."""
        listeners = self.shortcuts.listeners
        if self.is_open:
            return listeners.hear_insert(self.sync_session, mapping.entity)
        watched = listeners.of_inserts.get((self.sync_session_class, mapping.entity))
        if watched is None or sum(map(len, watched.collections)) != watched.own or listeners.has_log():
            return listeners.hear_insert_by(self.sync_session_class, mapping.entity)
        return False

    def _only_new(self) -> Any:
        """The one object of this session that has used no connection yet; None if it is another session."""
        if not self.is_open:
            return self._new[0] if len(self._new) == 1 and self.stored is None else None
        session = self.sync_session
        transaction = session._transaction
        if len(session._new) != 1 or session._deleted or len(session.identity_map) or transaction is None:
            return None
        is_begun = transaction._connections or transaction._parent or session._flushing
        return None if is_begun else next(iter(session._new)).obj()

    async def _revoke(self, row: Any, stored: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Roll the single insert back, and make its row a new one again, with the values that were stored."""
        assert self.single is not None
        single, self.single, self.stored = self.single, None, None
        await single.leave()
        changes = {name: value for name, value in row.__dict__.items() if name in stored and stored[name] is not value}
        make_transient(row)
        row.__dict__.update(stored)
        self.add(row)
        instance_state(row).insert_order = -1  # before other new rows, to which SQLite would give its id
        return row, changes

    async def commit(self) -> None:
        if self._has_more_to_write():
            await self.flush()
        if self.single is None:
            if self.is_open or self._new:
                await super().commit()
            return
        await self.single.commit()
        if self.is_open:
            self.sync_session.revoke = None
            self.sync_session.commit()  # it has no connection: this ends its own state
        self._committed += self._new
        self._new.clear()
        await self._leave_single()

    def _has_more_to_write(self) -> bool:
        """Whether something was added or changed since the single row was stored."""
        if self.single is None:
            return False
        if self.is_open:
            return not self.sync_session._is_clean()
        assert self.stored is not None
        row, values = self.stored
        return bool(row.__dict__ != values)

    async def rollback(self) -> None:
        await self._leave_single()
        self._new.clear()
        if self.is_open:
            await super().rollback()

    async def close(self) -> None:
        try:
            if self.single is not None:
                await self._leave_single()
        finally:
            self._forget_rows()
            if self.is_open and not close_at_once(self.sync_session, self.shortcuts.listeners):
                await super().close()

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        try:
            if self.single is not None:
                await self._leave_single()
        finally:
            self._forget_rows()
            if self.is_open and not close_at_once(self.sync_session, self.shortcuts.listeners):
                await super().__aexit__(kind, failure, trace)

    def _forget_rows(self) -> None:
        self._new.clear()
        self._committed.clear()

    async def _leave_single(self) -> None:
        """Roll the single insert back, unless it was committed."""
        if self.single is not None:
            single, self.single, self.stored = self.single, None, None
            if self.is_open:
                self.sync_session.revoke = None
            await single.leave()


def locked(session: Any, mapping: EntityMapping, ident: Any) -> Any:
    """The row with this id, locked until the transaction ends; None if there is none."""
    found = session.trusted_connection().execute(select_locked(mapping), {"id": ident}).first()
    return None if found is None else loaded(session, mapping, dict(zip(mapping.columns, found, strict=True)))


@cache
def select_locked(mapping: EntityMapping) -> Select[Any]:
    """A select of all columns of the row whose id is the parameter `id`, which locks it."""
    key = mapping.columns["id"]
    return select(*mapping.columns.values()).where(key == bindparam("id", type_=key.type)).with_for_update()


def flushed(session: Session, row: Any) -> None:
    """Treat a new row of this session, which has its id by now, as one that the session has flushed."""
    session._register_persistent({instance_state(row)})


def open_write(
    database: Database, shortcuts: WriteShortcuts, *, restricted: bool = False, restricted_reads: bool = False
) -> WriteSession:
    """A write session with shortcuts, if the running event loop has the primary engines; else one without."""
    if _get_running_loop() is not database.owner and database.engines is not database.primary:
        return database.open_write(restricted=restricted, restricted_reads=restricted_reads)
    return FastWriteSession(
        database.primary.writer, restricted=restricted, restricted_reads=restricted_reads, shortcuts=shortcuts
    )
