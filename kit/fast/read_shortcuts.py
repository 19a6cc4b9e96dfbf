"""Read shortcuts: the state that the fast read sessions of an engine share, and which shortcuts are enabled."""

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from kit.auth.ownership import RESTRICTED_READS
from kit.fast.coalescing import Coalescer
from kit.fast.listeners import Listeners
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


WHOLE_RESPONSES = "whole responses"
DATABASE = frozenset({"get", "pages", "single insert", "single update", "bulk insert"})
"""The names of the shortcuts for database access, each of which can be disabled by the self-test."""
ALL = DATABASE | {WHOLE_RESPONSES}
"""The names of all shortcuts that can be disabled."""


class ReadShortcuts:
    """The shared state of the fast read sessions of an engine. Without `coalesce` each request runs its own query."""

    def __init__(self, engine: "AsyncEngine", *, coalesce: bool, left_out: frozenset[str] = frozenset()) -> None:
        self.engine, self.listeners = engine, Listeners(engine.sync_engine)
        self.coalescer = Coalescer() if coalesce else None
        self.others: dict[AsyncEngine, ReadShortcuts] = {}
        """The shortcuts for other engines of the same database, such as replicas."""
        self.leave_out(left_out)

    def leave_out(self, names: frozenset[str]) -> None:
        """Disable the shortcuts with these names, and enable the others."""
        self.left_out, self.has_get, self.has_pages = names, "get" not in names, "pages" not in names
        for other in self.others.values():
            other.leave_out(names)

    def on(self, engine: "AsyncEngine") -> "ReadShortcuts":
        """Return the shortcuts for another engine of the same database, such as a replica."""
        if engine is self.engine:
            return self
        if engine not in self.others:
            coalesce = self.coalescer is not None
            self.others[engine] = ReadShortcuts(engine, coalesce=coalesce, left_out=self.left_out)
        return self.others[engine]

    def may_read(self, session: Session, entity: type[Entity]) -> bool:
        """Return whether a read of this entity without the ORM has the same result as a read by this session."""
        is_outside = session._transaction is None  # a session in a transaction has to read on its own connection
        is_restricted = session.info.get(RESTRICTED_READS) and not CURRENT_PRINCIPAL.get().is_superuser
        return is_outside and not is_restricted and not self.listeners.listen_to_read(session, entity)
