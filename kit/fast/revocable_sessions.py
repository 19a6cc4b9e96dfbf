"""Revocable sessions: undo a single insert, and repeat it by the ORM, if the session needs a connection after it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import util
from sqlalchemy.orm import SessionTransaction, make_transient
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value

from kit.auth.ownership import GuardedSession

if TYPE_CHECKING:
    from kit.fast.write_sessions import FastWriteSession


class RevocableSession(GuardedSession):
    """The synchronous session of a `FastWriteSession`.

    A single insert has its own transaction, and the session has no connection. If a later statement or flush needs
    one, the insert is rolled back, and the session inserts the row again, so that both are in one transaction.
    """

    revoke: Callable[[], tuple[Any, dict[str, Any]]] | None = None
    """Rolls the single insert back. Returns the row, in the state `pending`, and its changes since the insert."""

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
        """Roll the single insert back, flush its row by this session, and mark its later changes as not flushed."""
        if self.revoke is None:
            return
        revoke, self.revoke = self.revoke, None
        row, changes = revoke()
        super().flush()
        for name, value in changes.items():
            set_committed_value(row, name, value)
            flag_modified(row, name)


def make_revocable(session: "FastWriteSession") -> None:
    """Let the synchronous session roll the single insert back if it needs a connection before the COMMIT."""
    assert session.stored is not None
    row, stored = session.stored
    session.sync_session.revoke = lambda: util.await_only(revoke(session, row, stored))


async def revoke(session: "FastWriteSession", row: Any, stored: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Roll the single insert of a session back. The row is pending again, with the values that were stored.

    Returns the row, and the values that were changed since the insert.
    """
    assert session.single is not None
    single, session.single, session.stored = session.single, None, None
    await single.close()
    changes = {name: value for name, value in row.__dict__.items() if name in stored and stored[name] is not value}
    make_transient(row)
    row.__dict__.update(stored)
    session.add(row)
    instance_state(row).insert_order = -1  # before other new rows, so that it gets the same id on SQLite
    return row, changes
