"""Deferred sessions: an `AsyncSession` that creates its synchronous session on first use. A single `get` needs none.

The rows of a session that was not created yet are attached to it: the state of a row has the id of an entry in
SQLAlchemy's registry of sessions. SQLAlchemy looks the session up in `object_session(row)`, for `inspect(row).pending`
and the other states, and when an attribute of a persistent row is set. The lookup creates the session.
"""

from functools import cached_property, partial
from typing import Any
from weakref import KeyedRef

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.session import _new_sessionid, _sessions

from kit.fast.listeners import Listeners

REGISTRY: Any = _sessions
"""SQLAlchemy's sessions by their ids, as weak references. It must not grow during a loop over it."""
new_entry = _new_sessionid
"""Returns an id that no other session has."""


class SessionEntry(KeyedRef[int, Any]):
    """The entry of a deferred session in the registry: a weak reference, by which the session is created."""

    def __call__(self) -> Any:
        """Return the synchronous session; None if the deferred session is gone, or during a loop over all sessions."""
        session = super().__call__()
        return None if session is None or REGISTRY._iterating else session.sync_session


class DeferredSession(AsyncSession):
    """An `AsyncSession` whose attribute `sync_session` is created on first access."""

    is_open = False
    """Whether the synchronous session was created."""
    is_ended = False
    entry: int
    """The id of its entry in the registry, which exists from the first attached row until `sync_session` is created."""

    def _open(self) -> None:
        """Create the synchronous session, and add the rows that were read or stored without it."""
        raise AssertionError

    def _opened(self, name: str) -> Any:
        self._open()
        vars(self)["sync_session"].is_ended = self.is_ended
        return vars(self)[name]

    sync_session = cached_property(partial(_opened, name="sync_session"))
    _proxied = cached_property(partial(_opened, name="_proxied"))
    _async_bind = cached_property(partial(_opened, name="_async_bind"))
    _async_binds = cached_property(partial(_opened, name="_async_binds"))


def close_at_once(session: Session, listeners: Listeners) -> bool:
    """Close a session that has no connection, without a greenlet. Returns False if that is not possible.

    It is not possible if the session has a connection, or a listener to its events.
    """
    transaction = session._transaction
    if transaction is not None and (transaction._connections or transaction._parent):
        return False
    if listeners.listen_to_session(session):
        return False
    session.close()
    return True
