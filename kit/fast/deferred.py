"""Deferred sessions: an `AsyncSession` is opened when something needs it, which a single read or insert does not."""

from functools import cached_property, partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from kit.fast.listeners import Listeners


class DeferredSession(AsyncSession):
    """An `AsyncSession` whose synchronous session is made when something needs it."""

    is_open = False

    def _open(self) -> None:
        """Call the constructor of the session that stands behind, and let it know what happened without it."""
        raise AssertionError

    def _opened(self, name: str) -> Any:
        self._open()
        return vars(self)[name]

    sync_session = cached_property(partial(_opened, name="sync_session"))
    _proxied = cached_property(partial(_opened, name="_proxied"))
    _async_bind = cached_property(partial(_opened, name="_async_bind"))
    _async_binds = cached_property(partial(_opened, name="_async_binds"))


def close_at_once(session: Session, listeners: Listeners) -> bool:
    """Close a session that has no connection to give back: that needs neither a greenlet nor a task."""
    transaction = session._transaction
    if transaction is not None and (transaction._connections or transaction._parent):
        return False
    if listeners.hear_session(session):
        return False
    session.close()
    return True
