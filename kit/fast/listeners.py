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
from collections.abc import Collection, Iterable, Iterator
from gc import get_referents
from typing import Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.engine.events import ConnectionEvents, DialectEvents
from sqlalchemy.event.attr import _ListenerCollection
from sqlalchemy.event.base import _JoinedDispatcher
from sqlalchemy.orm import InstanceEvents, Mapper, MapperEvents, Session, SessionEvents
from sqlalchemy.orm.instrumentation import ClassManager, manager_of_class

OWN_MODULES = frozenset({"kit.auth.ownership", "kit.database.engines", "kit.database.references"}) | {
    "kit.models.entities", "kit.database.sessions"
}  # fmt: skip
"""Their listeners do not count: the shortcuts do what these do, or step aside for it."""
AUTOCOMMIT_MODULE = "sqlalchemy.engine.default"
"""Here SQLAlchemy makes each connection of an engine with AUTOCOMMIT so; the driver does so by itself."""
IRRELEVANT = re.compile("engine_disposed|set_.*_options|do_connect|.*savepoint|.*twophase")
"""Events of engines that neither a read nor an INSERT fires, or that shortcuts fire as well."""
Listener = Any


class Watched:
    """The collections of listeners that matter for something, and how many listeners of the kit are in them.

    While the number is the same, nobody else listens: the kit's own are there from the import on.
    """

    def __init__(self, collections: Iterable[Collection[Listener]]) -> None:
        self.collections = tuple(collections)
        self.own = -1
        """Not known yet, or there are others."""

    def have_listener(self) -> bool:
        """Whether there is a listener that is not of the kit."""
        if sum(map(len, self.collections)) == self.own:
            return False
        listeners = [listener for collection in self.collections for listener in collection]
        self.own = len(listeners) if all(map(_is_own, listeners)) else -1
        return self.own < 0


class Listeners:
    """Knows who listens to the events of an engine, of the sessions on it, and of the entities that they read."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.has_log = engine, engine._should_log_info
        self._of_engine = tuple(_of_engine(self.engine))
        self.of_sessions: dict[type[Session], Watched] = {}
        self.of_reads: dict[tuple[type[Session], type], Watched] = {}
        self.of_inserts: dict[tuple[type[Session], type], Watched] = {}

    def hear_read(self, session: Session, entity: type) -> bool:
        """Whether somebody listens to a read of this entity by its session."""
        return self.hear_read_by(type(session), entity) or _has_own_listener(session)

    def hear_read_by(self, session_class: type[Session], entity: type) -> bool:
        """Whether somebody listens to reads of this entity by sessions of a class."""
        key = (session_class, entity)
        if key not in self.of_reads:
            self.of_reads[key] = Watched((*self._of_engine, *_of_session(session_class), *_of_reads(entity)))
        return self.of_reads[key].have_listener() or self.has_log()

    def hear_insert(self, session: Session, entity: type) -> bool:
        """Whether somebody listens to an INSERT of a row of this entity by its session."""
        return self.hear_insert_by(type(session), entity) or _has_own_listener(session)

    def hear_insert_by(self, session_class: type[Session], entity: type) -> bool:
        """Whether somebody listens to INSERTs of rows of this entity by sessions of a class."""
        key = (session_class, entity)
        if key not in self.of_inserts:
            self.of_inserts[key] = Watched((*self._of_engine, *_of_session(session_class), *_of_inserts(entity)))
        return self.of_inserts[key].have_listener() or self.has_log()

    def hear_session(self, session: Session) -> bool:
        """Whether somebody listens to the session."""
        return self.hear_session_class(type(session)) or _has_own_listener(session)

    def hear_session_class(self, session_class: type[Session]) -> bool:
        """Whether somebody listens to all sessions of a class."""
        if session_class not in self.of_sessions:
            self.of_sessions[session_class] = Watched(_of_session(session_class))
        return self.of_sessions[session_class].have_listener()


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
        yield from of_object(manager_of_class(entity).dispatch, name)


def _of_inserts(entity: type) -> Iterator[Collection[Listener]]:
    yield _of_class(InstanceEvents, "refresh_flush", ClassManager)
    yield from of_object(manager_of_class(entity).dispatch, "refresh_flush")
    for name in ("before_insert", "after_insert"):
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
    """The listeners to an event of a class, those of its bases included."""
    event = getattr(events.dispatch, name)
    event.update_subclass(owner)
    listeners: Collection[Listener] = event._clslevel[owner]
    return listeners


def of_object(dispatch: Any, name: str) -> Iterator[Collection[Listener]]:
    """The listeners to an event of an object. An engine made by `execution_options` has those of its original too."""
    event = getattr(dispatch, name).for_modify(dispatch)  # from now on listeners are added to this collection
    if isinstance(dispatch, _JoinedDispatcher):
        yield event.local.listeners
        yield from of_object(dispatch.parent, name)
    else:
        yield event.listeners
