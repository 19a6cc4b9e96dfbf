"""Listeners: whether anybody listens to SQLAlchemy events that a shortcut would not fire.

SQLAlchemy keeps the listeners of an event in one collection for each class, and in one for each object that has
listeners of its own. A collection lives as long as its class or object. So the collections that matter are looked up
once, and each request only tests whether they are empty: a listener is noticed from the moment when it is added until
it is removed.

Which events matter:

- a session's: all, on the class, its bases, a sessionmaker, or the session itself;
- an engine's: all that statements and transactions fire, on the class, the engine or its dialect; its log as well;
- an entity's: `load` and `refresh` for reads, `before_insert`, `after_insert` and `refresh_flush` for inserts, on the
  class, its bases, or all mappers. `@reconstructor`, composites and mutable types are listeners of this kind.

Events of the pool are fired by every shortcut, as are `init`, attribute events and `@validates`: a handler makes its
rows and sets their attributes itself, and neither a load nor an INSERT fires attribute events.
"""

import re
from collections.abc import Collection, Iterator
from gc import get_referents
from typing import Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.engine.events import ConnectionEvents, DialectEvents
from sqlalchemy.event.attr import _ListenerCollection
from sqlalchemy.event.base import _JoinedDispatcher
from sqlalchemy.orm import InstanceEvents, Mapper, MapperEvents, Session, SessionEvents
from sqlalchemy.orm.instrumentation import ClassManager, manager_of_class

OWN_MODULES = frozenset({"kit.auth.ownership", "kit.database.engines", "kit.models.entities", "kit.operations.unit_of_work"})
"""Their listeners do not count: the shortcuts do what these do, or step aside for it."""
AUTOCOMMIT_MODULE = "sqlalchemy.engine.default"
"""Here SQLAlchemy makes each connection of an engine with AUTOCOMMIT so; the driver does so by itself."""
IRRELEVANT = re.compile("engine_disposed|set_.*_options|do_connect|.*savepoint|.*twophase")
"""Events of engines that neither a read nor an INSERT fires, or that shortcuts fire as well."""
Listener = Any
Collections = tuple[Collection[Listener], ...]


class Listeners:
    """Knows who listens to the events of an engine, of the sessions on it, and of the entities that they read."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._own: set[Listener] = set()
        """Listeners of `OWN_MODULES` that were met."""
        self._of_engine = tuple(_of_engine(self.engine))
        self._of_session: dict[type[Session], Collections] = {}
        self._of_reads: dict[tuple[type[Session], type], Collections] = {}
        self._of_inserts: dict[tuple[type[Session], type], Collections] = {}

    def hear_read(self, session: Session, entity: type) -> bool:
        """Whether somebody listens to a read of this entity by its session."""
        return self.hear_read_by(type(session), entity) or _has_own_listener(session)

    def hear_read_by(self, session_class: type[Session], entity: type) -> bool:
        """Whether somebody listens to reads of this entity by sessions of a class."""
        key = (session_class, entity)
        collections = self._of_reads.get(key)
        if collections is None:
            collections = self._of_reads[key] = (*self._of_engine, *_of_session(key[0]), *_of_reads(entity))
        return self._have_listener(collections) or self.engine._should_log_info()

    def hear_insert(self, session: Session, entity: type) -> bool:
        """Whether somebody listens to an INSERT of a row of this entity by its session."""
        return self.hear_insert_by(type(session), entity) or _has_own_listener(session)

    def hear_insert_by(self, session_class: type[Session], entity: type) -> bool:
        """Whether somebody listens to INSERTs of rows of this entity by sessions of a class."""
        key = (session_class, entity)
        collections = self._of_inserts.get(key)
        if collections is None:
            collections = self._of_inserts[key] = (*self._of_engine, *_of_session(key[0]), *_of_inserts(entity))
        return self._have_listener(collections) or self.engine._should_log_info()

    def hear_session(self, session: Session) -> bool:
        """Whether somebody listens to the session."""
        return self.hear_session_class(type(session)) or _has_own_listener(session)

    def hear_session_class(self, session_class: type[Session]) -> bool:
        """Whether somebody listens to all sessions of a class."""
        collections = self._of_session.get(session_class)
        if collections is None:
            collections = self._of_session[session_class] = tuple(_of_session(session_class))
        return self._have_listener(collections)

    def _have_listener(self, collections: Collections) -> bool:
        """Whether there is a listener that is not of the kit."""
        filled = filter(None, collections)
        return not all(map(self._own.issuperset, filled)) and not all(map(self._are_own, filter(None, collections)))

    def _are_own(self, listeners: Collection[Listener]) -> bool:
        self._own.update(filter(_is_own, listeners))
        return self._own.issuperset(listeners)


def _is_own(listener: Listener) -> bool:
    """Whether it belongs to the kit, or is SQLAlchemy's wrapper around one that does."""
    module = getattr(listener, "__module__", None) or ""
    if module == AUTOCOMMIT_MODULE:
        return True
    if module.startswith("sqlalchemy."):
        cells = getattr(listener, "__closure__", None) or ()
        return any(_is_own(cell.cell_contents) for cell in cells if callable(cell.cell_contents))
    return module in OWN_MODULES


def _has_own_listener(session: Session) -> bool:
    """Whether there is a listener on this very session. Most sessions have not even a dispatcher of their own."""
    dispatch = session.__dict__.get("dispatch")
    if dispatch is None or _ListenerCollection not in map(type, get_referents(dispatch)):
        return False
    return any(getattr(dispatch, name).listeners for name in _names(SessionEvents))


def _of_session(session_class: type[Session]) -> Iterator[Collection[Listener]]:
    for name in _names(SessionEvents):
        yield _of_class(SessionEvents, name, session_class)


def _of_reads(entity: type) -> Iterator[Collection[Listener]]:
    for name in ("load", "refresh"):
        yield _of_class(InstanceEvents, name, ClassManager)
        yield from _of_object(manager_of_class(entity).dispatch, name)


def _of_inserts(entity: type) -> Iterator[Collection[Listener]]:
    yield _of_class(InstanceEvents, "refresh_flush", ClassManager)
    yield from _of_object(manager_of_class(entity).dispatch, "refresh_flush")
    for name in ("before_insert", "after_insert"):
        yield _of_class(MapperEvents, name, Mapper)
        yield from _of_object(inspect(entity).dispatch, name)


def _of_engine(engine: Engine) -> Iterator[Collection[Listener]]:
    for name in _names(ConnectionEvents):
        yield _of_class(ConnectionEvents, name, Engine)
        yield _of_class(ConnectionEvents, name, Connection)
        yield from _of_object(engine.dispatch, name)
    for name in _names(DialectEvents):
        yield _of_class(DialectEvents, name, type(engine.dialect))
        yield from _of_object(engine.dialect.dispatch, name)


def _names(events: Any) -> list[str]:
    return [name for name in events.dispatch._event_names if not IRRELEVANT.fullmatch(name)]


def _of_class(events: Any, name: str, owner: type) -> Collection[Listener]:
    """The listeners to an event of a class, those of its bases included."""
    event = getattr(events.dispatch, name)
    event.update_subclass(owner)
    listeners: Collection[Listener] = event._clslevel[owner]
    return listeners


def _of_object(dispatch: Any, name: str) -> Iterator[Collection[Listener]]:
    """The listeners to an event of an object, and of the one from which an engine with other options was made."""
    event = getattr(dispatch, name).for_modify(dispatch)  # from now on listeners are added to this collection
    if isinstance(dispatch, _JoinedDispatcher):
        yield event.local.listeners
        yield from _of_object(dispatch.parent, name)
    else:
        yield event.listeners
