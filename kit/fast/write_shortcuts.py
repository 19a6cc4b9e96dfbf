"""Write shortcuts: the state that the fast write sessions of a database share, and which shortcuts are enabled."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kit.fast.group_commit import GroupCommit
from kit.fast.insert_batches import InsertMember
from kit.fast.listeners import Listeners
from kit.fast.mappings import EntityMapping
from kit.fast.single_insert import NewRow, SingleInsert
from kit.fast.single_update import SingleUpdate
from kit.fast.update_batches import UpdateMember

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class WriteShortcuts:
    """The shared state of the fast write sessions of a database. Without `may_update`, updates take no shortcut."""

    def __init__(self, engine: "AsyncEngine", *, group: bool, may_update: bool = True) -> None:
        self.engine, self.listeners, self.may_update = engine, Listeners(engine.sync_engine), may_update
        self.group_commit = GroupCommit(engine.sync_engine) if group else None
        self.transaction_for: Callable[[NewRow], SingleInsert | InsertMember] = (
            self.group_commit.transaction_for if self.group_commit else self.own_transaction
        )
        """Returns the transaction that is to store a single new row. With `group` it may be shared."""
        self.change_of: Callable[[EntityMapping, Any], SingleUpdate | UpdateMember] = (
            self.group_commit.change_of if self.group_commit else self.own_change
        )
        """Returns the transaction that is to change the row with an id. With `group` it may be shared."""
        self.leave_out(frozenset())

    def leave_out(self, names: frozenset[str]) -> None:
        """Disable the shortcuts with these names, and enable the others."""
        self.has_get, self.has_single, self.has_bulk = (
            name not in names for name in ("get", "single insert", "bulk insert")
        )
        self.has_update = self.may_update and "single update" not in names

    def own_transaction(self, _: NewRow) -> SingleInsert:
        return SingleInsert(self.engine.sync_engine)

    def own_change(self, mapping: EntityMapping, _: Any) -> SingleUpdate:
        return SingleUpdate(self.engine.sync_engine, mapping)
