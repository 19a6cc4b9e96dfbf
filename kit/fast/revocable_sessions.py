"""Revocable sessions: a synchronous session that can take back a row which was stored without it."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.orm import SessionTransaction
from sqlalchemy.orm.attributes import flag_modified, set_committed_value

from kit.auth.ownership import GuardedSession


class RevocableSession(GuardedSession):
    """The synchronous session of a `FastWriteSession`.

    After a single insert the session has no connection of its own. If a statement or a flush needs a connection, the
    insert is revoked first, and the row is inserted again by the session: so both are in one transaction.
    """

    revoke: Callable[[], tuple[Any, dict[str, Any]]] | None = None
    """Rolls the single insert back. Returns the row, which is new again, and its changes since the insert."""

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
