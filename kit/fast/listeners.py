"""Listeners: tells whether an event of SQLAlchemy that a shortcut does not fire has a listener. If so, the ORM is used.

SQLAlchemy has a collection of listeners for each class and event, and for each object with its own listeners. It lives
as long as the class or object. Therefore the relevant collections are looked up once, and each request only compares
their sizes: a listener is noticed as soon as it is added, and until it is removed.

The relevant events:

- of a session: all, on the class, its bases, a sessionmaker, or the session itself; for reads all but those of flushes;
- of an engine: all that statements and transactions fire, on the class, the engine or its dialect; its log as well;
- of an entity: `load` and `refresh` for reads, `before_insert`, `after_insert` and `refresh_flush` for inserts,
  `before_update`, `after_update` and `refresh_flush` for updates, on the class, its bases, or all mappers.
  `@reconstructor`, composites and mutable types are listeners of this kind.

Every shortcut fires the events of the pool, `init`, attribute events and `@validates`: the handler itself constructs
its rows and sets their attributes, and neither a load nor an INSERT fires attribute events.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from gc import get_referents
from typing import Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.engine.events import ConnectionEvents, DialectEvents
from sqlalchemy.event.attr import _ListenerCollection
from sqlalchemy.event.base import _JoinedDispatcher
from sqlalchemy.orm import InstanceEvents, Mapper, MapperEvents, Session, SessionEvents
from sqlalchemy.orm.instrumentation import ClassManager, manager_of_class

OF_DATABASE = [
    "deletions",
    "engines",
    "failed_transactions",
    "loaded_versions",
    "postgresql_engines",
    "references",
    "sessions",
    "sqlite_engines",
    "sqlite_file",
    "sqlite_limits",
    "statements",
    "transaction_control",
]
OWN_MODULES = frozenset({"kit.auth.ownership", "kit.auth.read_only_sessions", "kit.models.entities"}) | {
    f"kit.database.{name}" for name in OF_DATABASE
}
"""The modules of the kit whose listeners are ignored: shortcuts do the same, or are not taken where it matters."""
AUTOCOMMIT_MODULE = "sqlalchemy.engine.default"
"""The module of SQLAlchemy's listener that sets AUTOCOMMIT on connections. The driver needs no such setting."""
IRRELEVANT = re.compile("engine_disposed|set_.*_options|do_connect|.*savepoint|.*twophase")
"""Events of engines that no read or write fires, or that the shortcuts fire too."""
OF_FLUSHES = re.compile(
    "(before|after)_flush.*|after_bulk_.*|(transient|pending|deleted)_to_.*|persistent_to_(deleted|transient)"
)
"""Events of sessions that no read fires. Libraries listen to them for all sessions, as SQLAlchemy-Utils does."""
Listener = Any


class Watched:
    """The collections of listeners to one kind of access, and the number of the kit's own listeners in them.

    As long as they contain that number of listeners, there is no other one: the kit adds its own at import.
    """

    def __init__(self, collections: Iterable[Collection[Listener]]) -> None:
        self.collections = tuple(collections)
        self.empty, self.filled = self.collections, self.collections[:0]
        """The collections without and with listeners. `any(empty)` takes a fifth of the time of counting."""
        self.own = -1
        """The number of the kit's own listeners; -1 if it is not known yet, or if there are others."""

    def have_other_listener(self) -> bool:
        """Return whether there is a listener that the kit has not added."""
        if not any(self.empty) and sum(map(len, self.filled)) == self.own:
            return False
        self.empty = tuple(collection for collection in self.collections if not collection)
        self.filled = tuple(collection for collection in self.collections if collection)
        listeners = [listener for collection in self.collections for listener in collection]
        self.own = len(listeners) if all(map(_is_own, listeners)) else -1
        return self.own < 0

    def other_modules(self) -> list[str]:
        """Return the names of the modules that define the listeners which the kit has not added."""
        others = (listener for collection in self.collections for listener in collection if not _is_own(listener))
        return sorted(set(map(_module_of, others)))


class Listeners:
    """The listeners that accesses to the database concern: of an engine, of session classes, and of entities."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.has_log = engine, engine._should_log_info
        self._of_engine = tuple(_of_engine(self.engine))
        self.of_sessions: dict[type[Session], Watched] = {}
        self.of_reads: dict[tuple[type[Session], type], Watched] = {}
        self.of_inserts: dict[tuple[type[Session], type], Watched] = {}
        self.of_updates: dict[tuple[type[Session], type], Watched] = {}

    def listen_to_read(self, session: Session, entity: type) -> bool:
        """Return whether there is a listener to a read of this entity by this session."""
        return self.listen_to_reads_by(type(session), entity) or _has_own_listener(session)

    def listen_to_reads_by(self, session_class: type[Session], entity: type) -> bool:
        """Return whether there is a listener to reads of this entity by sessions of a class."""
        key = (session_class, entity)
        if key not in self.of_reads:
            of_session = _of_session(session_class, without=OF_FLUSHES)
            self.of_reads[key] = Watched((*self._of_engine, *of_session, *_of_reads(entity)))
        return self.of_reads[key].have_other_listener() or self.has_log()

    def listen_to_insert(self, session: Session, entity: type) -> bool:
        """Return whether there is a listener to an INSERT of this entity by this session."""
        return self.listen_to_inserts_by(type(session), entity) or _has_own_listener(session)

    def listen_to_inserts_by(self, session_class: type[Session], entity: type) -> bool:
        """Return whether there is a listener to INSERTs of this entity by sessions of a class."""
        key = (session_class, entity)
        if key not in self.of_inserts:
            self.of_inserts[key] = Watched(
                (*self._of_engine, *_of_session(session_class), *_of_writes(entity, "insert"))
            )
        return self.of_inserts[key].have_other_listener() or self.has_log()

    def listen_to_updates_by(self, session_class: type[Session], entity: type) -> bool:
        """Return whether there is a listener to reads and UPDATEs of this entity by sessions of a class."""
        key = (session_class, entity)
        if key not in self.of_updates:
            parts = (*self._of_engine, *_of_session(session_class), *_of_reads(entity), *_of_writes(entity, "update"))
            self.of_updates[key] = Watched(parts)
        return self.of_updates[key].have_other_listener() or self.has_log()

    def listen_to_session(self, session: Session) -> bool:
        """Return whether there is a listener to the events of this session."""
        return self.listen_to_sessions_of(type(session)) or _has_own_listener(session)

    def listen_to_sessions_of(self, session_class: type[Session]) -> bool:
        """Return whether there is a listener to the events of all sessions of a class."""
        if session_class not in self.of_sessions:
            self.of_sessions[session_class] = Watched(_of_session(session_class))
        return self.of_sessions[session_class].have_other_listener()


def _is_own(listener: Listener) -> bool:
    """Return whether a listener belongs to the kit, or is SQLAlchemy's wrapper around such a listener."""
    module = getattr(listener, "__module__", None) or ""
    if module == AUTOCOMMIT_MODULE:
        return True
    if module.startswith("sqlalchemy."):
        return any(map(_is_own, _wrapped(listener)))
    return module in OWN_MODULES or getattr(listener, "is_harmless", False)


def _wrapped(listener: Listener) -> Iterator[Any]:
    """Return the callable objects in the closure of a wrapper. The wrapped listener is one of them."""
    cells = getattr(listener, "__closure__", None) or ()
    return filter(callable, get_referents(*cells))  # a cell may still be empty


def _module_of(listener: Listener) -> str:
    """Return the name of the module that defines a listener, or the one that a wrapper of SQLAlchemy calls."""
    module: str = getattr(listener, "__module__", None) or repr(listener)
    inside = map(_module_of, _wrapped(listener)) if module.startswith("sqlalchemy.") else ()
    return next((found for found in inside if not found.startswith("sqlalchemy.")), module)


def _has_own_listener(session: Session) -> bool:
    """Return whether a listener was added to this session itself. Most sessions have no dispatcher for that."""
    dispatch = session.__dict__.get("dispatch")
    if dispatch is None or _ListenerCollection not in map(type, get_referents(dispatch)):
        return False
    return any(getattr(dispatch, name).listeners for name in _names(SessionEvents))


def _of_session(
    session_class: type[Session], *, without: re.Pattern[str] | None = None
) -> Iterator[Collection[Listener]]:
    for name in _names(SessionEvents):
        if without is None or not without.fullmatch(name):
            yield _of_class(SessionEvents, name, session_class)


def _of_reads(entity: type) -> Iterator[Collection[Listener]]:
    for name in ("load", "refresh"):
        yield _of_class(InstanceEvents, name, ClassManager)
        yield from of_object(manager_of_class(entity).dispatch, name)


def _of_writes(entity: type, kind: str) -> Iterator[Collection[Listener]]:
    """Yield the collections of listeners to INSERTs or UPDATEs of an entity; `kind` is "insert" or "update"."""
    yield _of_class(InstanceEvents, "refresh_flush", ClassManager)
    yield from of_object(manager_of_class(entity).dispatch, "refresh_flush")
    for name in (f"before_{kind}", f"after_{kind}"):
        yield _of_class(MapperEvents, name, Mapper)
        yield from of_object(inspect(entity).dispatch, name)


def _of_engine(engine: Engine) -> Iterator[Collection[Listener]]:
    for name in _names(ConnectionEvents):
        yield _of_class(ConnectionEvents, name, Engine)
        yield _of_class(ConnectionEvents, name, Connection)
        yield from of_object(engine.dispatch, name)
    for name in _names(DialectEvents):
        yield _of_class(DialectEvents, name, type(engine.dialect))
        yield from of_object(engine.dialect.dispatch, name)


def _names(events: Any) -> list[str]:
    return [name for name in events.dispatch._event_names if not IRRELEVANT.fullmatch(name)]


def _of_class(events: Any, name: str, owner: type) -> Collection[Listener]:
    """Return the collection of the listeners to an event of a class, including those of its bases."""
    event = getattr(events.dispatch, name)
    event.update_subclass(owner)
    listeners: Collection[Listener] = event._clslevel[owner]
    return listeners


def of_object(dispatch: Any, name: str) -> Iterator[Collection[Listener]]:
    """Yield the collections of the listeners to an event of an object.

    There are several for an engine made by `execution_options`, which has the listeners of the original engine too.
    """
    event = getattr(dispatch, name).for_modify(dispatch)  # creates the collection to which listeners will be added
    if isinstance(dispatch, _JoinedDispatcher):
        yield event.local.listeners
        yield from of_object(dispatch.parent, name)
    else:
        yield event.listeners
