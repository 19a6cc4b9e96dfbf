"""Fast read sessions: `get` reads rows without the ORM, and concurrent requests share one query."""

from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, bindparam, select
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.orm.attributes import instance_state

from kit.auth.read_only_sessions import HAS_SETTINGS
from kit.database.databases import Database
from kit.database.errors import FAILURES
from kit.database.integer_values import whole_number
from kit.database.retry import READ_SECONDS, retried_after
from kit.database.sessions import Opener, ReadSession
from kit.fast import driver
from kit.fast.deferred import REGISTRY, DeferredSession, SessionEntry, close_at_once, new_entry
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.persistent_rows import add_loaded
from kit.fast.read_shortcuts import ReadShortcuts
from kit.fast.selects import CompiledSelect
from kit.http.principals import CURRENT_PRINCIPAL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

M = TypeVar("M")
T = TypeVar("T")
Values = Mapping[str, Any]


async def rows_by_id(engine: "AsyncEngine", mapping: EntityMapping, idents: Collection[Any]) -> dict[Any, Values]:
    """Return the values of the rows with these ids, by id. Ids without a row are left out."""
    ids = in_power_of_two(idents)
    compiled = select_by_id(mapping, len(ids), engine.dialect)
    process = compiled.parameters[0][1]
    arguments = ids if process in (None, whole_number) else list(map(process, ids))
    rows = await driver.spawn(driver.read, engine.sync_engine, compiled.sql, arguments)
    if compiled.processors and rows:
        rows = driver.converted(rows, compiled.processors)
    found: dict[Any, Values] = {}
    for row in rows:
        values = dict(zip(mapping.columns, row, strict=True))
        found[values["id"]] = values
    return found


def in_power_of_two(idents: Collection[Any]) -> list[Any]:
    """Return the ids as a list, padded with its last id until the length is a power of two.

    A SELECT has one parameter for each id, so this bounds the number of different statements to compile and prepare.
    """
    ids = list(idents)
    return ids + ids[-1:] * ((1 << (len(ids) - 1).bit_length()) - len(ids))


@cache
def select_by_id(mapping: EntityMapping, number: int, dialect: Dialect) -> CompiledSelect:
    """Return the compiled statement of `select_by_ids`."""
    return CompiledSelect(select_by_ids(mapping, number), None, dialect)


def select_by_ids(mapping: EntityMapping, number: int) -> Select[Any]:
    """Return a SELECT of all columns by id, with `number` ids as parameters."""
    key = mapping.columns["id"]
    ids = [bindparam(f"id_{index}", type_=key.type) for index in range(number)]
    return select(*mapping.columns.values()).where(key.in_(ids))


class FastReadSession(DeferredSession, ReadSession):
    """A `ReadSession` whose `get` reads rows without the ORM, and shares the query with other requests.

    It creates its synchronous session for everything else. Then the rows that were read enter the identity map.
    """

    def __init__(
        self, engine: "AsyncEngine", opener: Opener, *, shortcuts: ReadShortcuts, restricted: bool = False
    ) -> None:
        self._engine, self.opener, self.restricted, self.shortcuts = engine, opener, restricted, shortcuts
        self._rows: dict[Any, Any] = {}
        """The rows that were read before the synchronous session was created, by identity key."""
        self.entry = new_entry()

    def _open(self) -> None:
        rows = self._taken_rows()
        ReadSession.__init__(self, self._engine, self.opener, restricted=self.restricted)
        self.is_open = True
        for row in rows:
            self.sync_session.add(row)

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        """Return the row with this id; None if it does not exist. With options, it calls `AsyncSession.get`."""
        mapping, shortcuts = mapping_of(entity), self.shortcuts
        if mapping is None or type(ident) is not mapping.ident_type or any(options.values()) or not shortcuts.has_get:
            return await super().get(entity, ident, **options)
        key = mapping.identity_key((ident,))
        is_known = self.is_open and key in self.sync_session.identity_map
        if is_known or not mapping.is_shareable or not self.may_read(mapping.entity):
            return await super().get(entity, ident, **options)
        if key in self._rows:
            return self._rows[key]  # type: ignore[no-any-return]
        values = await values_of(shortcuts, mapping, ident)
        if values is None:
            return None
        if self.is_open:
            return add_loaded(self.sync_session, detached(mapping, key, values))  # type: ignore[no-any-return]
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = detached(mapping, key, values)
            REGISTRY.data[self.entry] = SessionEntry(self, REGISTRY._remove, self.entry)
            instance_state(row).session_id = self.entry
        return row  # type: ignore[no-any-return]

    def may_read(self, entity: type[Any]) -> bool:
        """Return whether a read of this entity without the ORM has the same result as a read by this session."""
        if self.is_ended or (self.restricted and not CURRENT_PRINCIPAL.get().is_superuser):
            return False
        if self.is_open:
            return HAS_SETTINGS not in self.info and self.shortcuts.may_read(self.sync_session, entity)
        return may_read_alone(self.shortcuts, entity)

    async def once(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work()`. All calls with the same key, until it starts, share one execution."""
        coalescer = self.shortcuts.coalescer
        if coalescer is None:
            return await work()
        result: T = await coalescer.ask(key, None, lambda _: work())
        return result

    async def close(self) -> None:
        await self._close(super().close)

    async def __aexit__(self, kind: Any, failure: Any, trace: Any) -> None:
        if self.is_open:
            await self._close(partial(super().__aexit__, kind, failure, trace))
        else:
            self._taken_rows()

    async def _close(self, close_open_session: Callable[[], Awaitable[None]]) -> None:
        self._taken_rows()
        is_used = self.user is not None  # by another task, for which it has to wait
        if self.is_open and (is_used or not close_at_once(self.sync_session, self.shortcuts.listeners)):
            await close_open_session()

    def _taken_rows(self) -> list[Any]:
        """Detach and return the rows that were read before the synchronous session was created."""
        rows = list(self._rows.values())
        self._rows.clear()
        REGISTRY.data.pop(self.entry, None)
        for row in rows:
            instance_state(row)._detach()
        return rows


def may_read_alone(shortcuts: ReadShortcuts, entity: type[Any]) -> bool:
    """Return whether a read of this entity without a session has the same result as a read by a new session."""
    listeners, kind = shortcuts.listeners, FastReadSession.sync_session_class
    watched = listeners.of_reads.get((kind, entity))
    # `have_other_listener` inlined: a call would take longer than the comparison
    if watched is None or any(watched.empty) or sum(map(len, watched.filled)) != watched.own or listeners.has_log():
        return not listeners.listen_to_reads_by(kind, entity)
    return True


async def values_of(shortcuts: ReadShortcuts, mapping: EntityMapping, ident: Any) -> Values | None:
    """Return the values of the row with this id; None if it does not exist. Concurrent requests share the query."""
    query = partial(rows_by_id, shortcuts.engine, mapping)
    found = await (shortcuts.coalescer.ask(mapping, ident, query) if shortcuts.coalescer else query([ident]))
    values: Values | None = found.get(ident)
    return values


def detached(mapping: EntityMapping, key: Any, values: Values) -> Any:
    """Return a row with these values in the state `detached`, as after the session that loaded it was closed."""
    row = mapping.entity.__new__(mapping.entity)
    state = mapping.manager._state_constructor(row, mapping.manager)
    state.key = key
    row.__dict__["_sa_instance_state"] = state
    row.__dict__.update(values)
    return row


async def read_row(database: Database, shortcuts: ReadShortcuts, entity: type[Any], ident: Any) -> Any:
    """Return the row with this id, or None. It is read without a session if the result is the same."""
    here, mapping = here_of(database, shortcuts), mapping_of(entity)
    if here is None or mapping is None or not may_read_id(here, mapping, ident):
        return await database.read_row_by_session(entity, ident)
    values = await values_of(here, mapping, ident)
    return None if values is None else detached(mapping, mapping.identity_key((ident,)), values)


async def find_as(
    database: Database, shortcuts: ReadShortcuts, entity: type[Any], ident: Any, make: Callable[[Any], Any]
) -> Any:
    """Return `make(row)` for the row with this id, or None. Concurrent requests for the row share the result."""
    here, mapping = here_of(database, shortcuts), mapping_of(entity)
    if here is None or mapping is None or here.coalescer is None or not may_read_id(here, mapping, ident):
        return await Database.find_as(database, entity, ident, make)
    query = partial(made_by_id, here.engine, mapping, make)
    try:
        found = await here.coalescer.ask((mapping, make), ident, query)
    except FAILURES as failure:
        found = await retried_after(failure, partial(query, [ident]), READ_SECONDS)
    return found.get(ident)


def may_read_id(shortcuts: ReadShortcuts, mapping: EntityMapping, ident: Any) -> bool:
    """Return whether the row with this id can be read without a session."""
    is_possible = shortcuts.has_get and mapping.is_shareable and type(ident) is mapping.ident_type
    return is_possible and may_read_alone(shortcuts, mapping.entity)


async def made_by_id(
    engine: "AsyncEngine", mapping: EntityMapping, make: Callable[[Any], T], idents: Collection[Any]
) -> dict[Any, T]:
    """Return `make(row)` by id, for the rows with these ids."""
    found = await rows_by_id(engine, mapping, idents)
    return {ident: make(detached(mapping, mapping.identity_key((ident,)), found[ident])) for ident in found}


def here_of(database: Database, shortcuts: ReadShortcuts) -> ReadShortcuts | None:
    """Return the shortcuts for the engine of the next read; None if the event loop does not use the primary engines."""
    if _get_running_loop() is not database.owner and database.engines is not database.primary:
        return None
    return shortcuts if database.choose_reader is None else shortcuts.on(database.choose_reader())


def open_read(database: Database, shortcuts: ReadShortcuts, *, restricted: bool = False) -> ReadSession:
    """Return a read session with shortcuts. If the event loop does not use the primary engines, it has none."""
    here = here_of(database, shortcuts)
    if here is None:
        return database.open_read(restricted=restricted)
    return FastReadSession(here.engine, database, restricted=restricted, shortcuts=here)
