"""Shortcuts of a database: the state that its fast sessions share, and the shortcuts that they may take."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from kit.auth.ownership import RESTRICTED_READS
from kit.fast.batches import BatchMember
from kit.fast.coalescing import Coalescer
from kit.fast.group_commit import GroupCommit
from kit.fast.listeners import Listeners
from kit.fast.single_insert import NewRow, SingleInsert
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


ALL = frozenset({"get", "pages", "single insert", "single update", "bulk insert"})
"""The names of the shortcuts that may be left out."""


class ReadShortcuts:
    """The shared state of the read sessions of a database. Without a coalescer each request runs its own query."""

    def __init__(self, engine: "AsyncEngine", *, coalesce: bool, left_out: frozenset[str] = frozenset()) -> None:
        self.engine, self.listeners = engine, Listeners(engine.sync_engine)
        self.coalescer = Coalescer() if coalesce else None
        self.others: dict[AsyncEngine, ReadShortcuts] = {}
        """The shortcuts on other engines of the same database."""
        self.leave_out(left_out)

    def leave_out(self, names: frozenset[str]) -> None:
        """Leave out these shortcuts, and take the others."""
        self.left_out, self.has_get, self.has_pages = names, "get" not in names, "pages" not in names
        for other in self.others.values():
            other.leave_out(names)

    def on(self, engine: "AsyncEngine") -> "ReadShortcuts":
        """Return the same shortcuts on an engine of the same database."""
        if engine is self.engine:
            return self
        if engine not in self.others:
            coalesce = self.coalescer is not None
            self.others[engine] = ReadShortcuts(engine, coalesce=coalesce, left_out=self.left_out)
        return self.others[engine]

    def may_read(self, session: Session, entity: type[Entity]) -> bool:
        """Return whether a read of this entity without the ORM has the same result as a read by this session."""
        is_outside = session._transaction is None  # a session that has begun has to read on its own connection
        is_restricted = session.info.get(RESTRICTED_READS) and not CURRENT_PRINCIPAL.get().is_superuser
        return is_outside and not is_restricted and not self.listeners.listen_to_read(session, entity)


class WriteShortcuts:
    """The shared state of the write sessions of a database. Without `may_update` changes of a row take no shortcut."""

    def __init__(self, engine: "AsyncEngine", *, group: bool, may_update: bool = True) -> None:
        self.engine, self.listeners, self.may_update = engine, Listeners(engine.sync_engine), may_update
        self.group_commit = GroupCommit(engine.sync_engine) if group else None
        self.transaction_for: Callable[[NewRow], SingleInsert | BatchMember] = (
            self.group_commit.transaction_for if self.group_commit else self.own_transaction
        )
        """The transaction that stores a single new row: with `group` it may be shared."""
        self.leave_out(frozenset())

    def leave_out(self, names: frozenset[str]) -> None:
        """Leave out these shortcuts, and take the others."""
        self.has_get, self.has_single, self.has_bulk = (
            name not in names for name in ("get", "single insert", "bulk insert")
        )
        self.has_update = self.may_update and "single update" not in names

    def own_transaction(self, _: NewRow) -> SingleInsert:
        return SingleInsert(self.engine.sync_engine)
