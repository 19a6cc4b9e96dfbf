"""Sessions: `ReadSession` and `WriteSession` that take a shortcut where nobody can tell the difference.

A read session shares one query among requests that get rows of an entity at the same time. A write session stores many
new rows by one INSERT, and a single new row that is all there is by an INSERT that needs no ORM and may share its
transaction with those of other requests. Everything else is left to the plain sessions.
"""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, bindparam, select, util
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction, make_transient
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value

from kit.auth.ownership import RESTRICTED_READS, GuardedSession, check_new_row
from kit.database.sessions import Opener, ReadSession, WriteSession
from kit.fast.batches import Member
from kit.fast.bulk_insert import are_alike, insert_alike
from kit.fast.coalescing import Coalescer
from kit.fast.group_commit import GroupCommit
from kit.fast.instances import detached, flushed, identify, loaded
from kit.fast.listeners import Listeners
from kit.fast.mappings import EntityMapping, is_insertable, mapping_of
from kit.fast.selects import fetch
from kit.fast.single_insert import NewRow, SingleInsert
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.query.filters import padded

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

M = TypeVar("M")
T = TypeVar("T")
Values = Mapping[str, Any]


class ReadShortcuts:
    """What the read sessions of a database share. Without a coalescer each request has a query of its own."""

    def __init__(self, engine: "AsyncEngine", *, coalesce: bool, get: bool = True, pages: bool = True) -> None:
        self.engine, self.listeners = engine, Listeners(engine.sync_engine)
        self.coalescer = Coalescer() if coalesce else None
        self.has_get, self.has_pages = get, pages

    def may_read(self, session: Session, entity: type[Entity]) -> bool:
        """Whether nobody can tell a read of this entity past the ORM from one by this session."""
        is_outside = session._transaction is None  # a session that has begun goes on with its connection
        is_restricted = session.info.get(RESTRICTED_READS) and not CURRENT_PRINCIPAL.get().is_superuser
        return is_outside and not is_restricted and not self.listeners.hear_read(session, entity)

    async def values_of(self, mapping: EntityMapping, ident: Any) -> Values | None:
        """The values of the row with this id; None if there is none."""
        query = partial(rows_by_id, self.engine, mapping)
        values = await (self.coalescer.ask(mapping, ident, query) if self.coalescer else query([ident]))
        found: Values | None = values.get(ident)
        return found


async def rows_by_id(engine: "AsyncEngine", mapping: EntityMapping, idents: Collection[Any]) -> dict[Any, Values]:
    """The values of the rows with these ids; those that are absent are left out."""
    sought = padded(idents)
    parameters = {f"id_{index}": ident for index, ident in enumerate(sought)}
    found = await fetch(engine, select_by_id(mapping, len(sought)), parameters)
    rows = [dict(zip(mapping.columns, row, strict=True)) for row in found]
    return {row["id"]: row for row in rows}


@cache
def select_by_id(mapping: EntityMapping, number: int) -> Select[Any]:
    """A select of all columns for so many ids, which are the parameters `id_0`, `id_1`, …"""
    key = mapping.columns["id"]
    ids = [bindparam(f"id_{index}", type_=key.type) for index in range(number)]
    return select(*mapping.columns.values()).where(key.in_(ids))


class DeferredSession(AsyncSession):
    """An `AsyncSession` whose synchronous session is made when something needs it: a single read or insert does not."""

    def _open(self) -> None:
        """Call the constructor of the session that stands behind, and let it know what happened without it."""
        raise AssertionError

    def _opened(self, name: str) -> Any:
        self._open()
        return vars(self)[name]

    @property
    def is_open(self) -> bool:
        return "sync_session" in vars(self)

    sync_session = cached_property(partial(_opened, name="sync_session"))
    _proxied = cached_property(partial(_opened, name="_proxied"))
    _async_bind = cached_property(partial(_opened, name="_async_bind"))
    _async_binds = cached_property(partial(_opened, name="_async_binds"))


class FastReadSession(DeferredSession, ReadSession):
    """A `ReadSession` that gets rows past the ORM, and shares the query with other requests.

    The rows become part of its identity map when the session is asked for something else.
    """

    def __init__(
        self, engine: "AsyncEngine", opener: Opener, *, shortcuts: ReadShortcuts, restricted: bool = False
    ) -> None:
        self._engine, self.opener, self.restricted, self.shortcuts = engine, opener, restricted, shortcuts
        self._rows: dict[Any, Any] = {}
        """The rows that were got before the session was opened, by their identity keys."""

    def _open(self) -> None:
        ReadSession.__init__(self, self._engine, self.opener, restricted=self.restricted)
        for row in self._rows.values():
            self.sync_session.add(row)

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        mapping = mapping_of(entity)
        if mapping is None or any(options.values()) or not self._may_get(mapping, ident):
            return await super().get(entity, ident, **options)
        key = mapping.identity_key((ident,))
        if key in self._rows and not self.is_open:
            return self._rows[key]  # type: ignore[no-any-return]
        values = await self.shortcuts.values_of(mapping, ident)
        if values is None:
            return None
        if self.is_open:
            return loaded(self.sync_session, mapping, values)  # type: ignore[no-any-return]
        return self._rows.setdefault(key, detached(mapping, key, values))  # type: ignore[no-any-return]

    def _may_get(self, mapping: EntityMapping, ident: Any) -> bool:
        if not self.shortcuts.has_get or not mapping.is_shareable or type(ident) is not mapping.ident_type:
            return False
        if not self.is_open:
            return self.may_read(mapping.entity)
        is_unknown = mapping.identity_key((ident,)) not in self.sync_session.identity_map
        return is_unknown and self.may_read(mapping.entity)

    def may_read(self, entity: type[Any]) -> bool:
        """Whether nobody can tell a read of this entity past the ORM from one by this session."""
        if self.restricted and not CURRENT_PRINCIPAL.get().is_superuser:
            return False
        if self.is_open:
            return self.shortcuts.may_read(self.sync_session, entity)
        return not self.shortcuts.listeners.hear_read_by(self.sync_session_class, entity)

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of this work, which is done once for all who ask for it under this key before it begins."""
        coalescer = self.shortcuts.coalescer
        if coalescer is None:
            return await work()
        result: T = await coalescer.ask(key, None, lambda _: work())
        return result

    async def close(self) -> None:
        if not self._closes_at_once():
            await super().close()

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        if not self._closes_at_once():
            await super().__aexit__(kind, failure, trace)

    def _closes_at_once(self) -> bool:
        self._rows.clear()
        return not self.is_open or close_at_once(self.sync_session, self.shortcuts.listeners)


def close_at_once(session: Session, listeners: Listeners) -> bool:
    """Close a session that has no connection to give back: that needs neither a greenlet nor a task."""
    transaction = session._transaction
    if transaction is not None and (transaction._connections or transaction._parent):
        return False
    if listeners.hear_session(session):
        return False
    session.close()
    return True


class WriteShortcuts:
    """What the write sessions of a database share. Without group commit each insert has its own transaction."""

    def __init__(self, engine: "AsyncEngine", *, group: bool, single: bool = True, bulk: bool = True) -> None:
        self.engine, self.listeners = engine, Listeners(engine.sync_engine)
        self.group_commit = GroupCommit(engine.sync_engine) if group else None
        self.has_single, self.has_bulk = single, bulk

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

    def add(self, instance: object, *, _warn: bool = True) -> None:
        if self.is_open or self.stored is not None or not self._is_new(instance):
            super().add(instance, _warn=_warn)
        elif not any(row is instance for row in self._new):
            self._new.append(instance)

    def _is_new(self, instance: object) -> bool:
        is_heard = self.shortcuts.listeners.hear_session_class(self.sync_session_class)
        return isinstance(instance, Entity) and instance_state(instance).transient and not is_heard

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
        self.stored = new.row, dict(new.row.__dict__)
        if self.is_open:
            flushed(self.sync_session, new.row)
            self._make_revocable()
        else:
            identify(new.row)

    async def _single_row(self) -> NewRow | None:
        """The new row that is all there is to write; None if there is more or less, or if it needs the ORM."""
        row = self._only_new() if self.shortcuts.has_single else None
        mapping = mapping_of(type(row))
        if row is None or mapping is None or self._is_heard(mapping):
            return None
        await self._check_writes([row])  # it may set fields, and it may read
        return self._without_orm(row, mapping) if self._only_new() is row else None

    def _is_heard(self, mapping: EntityMapping) -> bool:
        if self.is_open:
            return self.shortcuts.listeners.hear_insert(self.sync_session, mapping.entity)
        return self.shortcuts.listeners.hear_insert_by(self.sync_session_class, mapping.entity)

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

    def _without_orm(self, row: Any, mapping: EntityMapping) -> NewRow | None:
        if not is_insertable(row, mapping):
            return None
        try:
            return NewRow.of(row, mapping, self.shortcuts.engine.dialect)
        except Exception:  # the ORM raises it as it should be
            return None

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
        return any(values.get(name) is not value for name, value in row.__dict__.items())

    async def rollback(self) -> None:
        await self._leave_single()
        self._new.clear()
        if self.is_open:
            await super().rollback()

    async def close(self) -> None:
        try:
            await self._leave_single()
        finally:
            if not self._closes_at_once():
                await super().close()

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        try:
            await self._leave_single()
        finally:
            if not self._closes_at_once():
                await super().__aexit__(kind, failure, trace)

    def _closes_at_once(self) -> bool:
        self._new.clear()
        self._committed.clear()
        return not self.is_open or close_at_once(self.sync_session, self.shortcuts.listeners)

    async def _leave_single(self) -> None:
        """Roll the single insert back, unless it was committed."""
        if self.single is not None:
            single, self.single, self.stored = self.single, None, None
            if self.is_open:
                self.sync_session.revoke = None
            await single.leave()
