"""Locked reads: `WriteSession.get` by a SELECT … FOR UPDATE without the ORM."""

from collections.abc import Mapping
from typing import Any, TypeVar

from kit.database.sessions import WriteSession
from kit.fast.deferred import DeferredSession
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.persistent_rows import add_loaded
from kit.fast.read_sessions import detached
from kit.fast.single_update import select_locked
from kit.fast.write_shortcuts import WriteShortcuts
from kit.http.principals import CURRENT_PRINCIPAL

M = TypeVar("M")


class LockingSession(DeferredSession, WriteSession):
    """A `WriteSession` whose `get` reads rows without the ORM."""

    shortcuts: WriteShortcuts
    restrictions: Mapping[str, bool]

    async def get(self, entity: type[M], ident: Any, **options: Any) -> M | None:  # type: ignore[override]
        """Return the row as `WriteSession.get` does: locked, and persistent in the session."""
        mapping, is_restricted = mapping_of(entity), any(self.restrictions.values())
        if mapping is None or options or type(ident) is not mapping.ident_type or not self.shortcuts.has_get:
            return await super().get(entity, ident, **options)
        session: Any = self.sync_session
        needs_orm = (
            mapping.identity_key((ident,)) in session.identity_map
            or (is_restricted and not CURRENT_PRINCIPAL.get().is_superuser)
            or not session._is_clean()  # the ORM flushes it first
            or self.shortcuts.listeners.listen_to_read(session, entity)
        )
        if needs_orm:
            return await super().get(entity, ident)
        return await self.run_sync(locked, mapping, ident)


def locked(session: Any, mapping: EntityMapping, ident: Any) -> Any:
    """Return the row with this id, locked until the transaction ends; None if it does not exist."""
    found = session.trusted_connection().execute(select_locked(mapping), {"id": ident}).first()
    if found is None:
        return None
    key, values = mapping.identity_key((ident,)), dict(zip(mapping.columns, found, strict=True))
    return add_loaded(session, detached(mapping, key, values))
