"""Deferred sessions: an `AsyncSession` that creates its synchronous session on first use. A single `get` needs none."""

from functools import cached_property, partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from kit.fast.listeners import Listeners


class DeferredSession(AsyncSession):
    """An `AsyncSession` whose attribute `sync_session` is created on first access."""

    is_open = False
    """Whether the synchronous session was created."""

    def _open(self) -> None:
        """Create the synchronous session, and add the rows that were read or stored without it."""
        raise AssertionError

    def _opened(self, name: str) -> Any:
        self._open()
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
