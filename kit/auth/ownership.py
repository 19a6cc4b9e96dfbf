"""Ownership: a restricted session neither changes nor returns rows that belong to other users than the principal.

An entity names in `belongs_to` the foreign key that leads to its owner: to a user, or to a row that has an owner itself
(`InvoiceLine.belongs_to = "invoice_id"`, `Invoice.belongs_to = "owner_id"`). A row may have no owner.

This module has the listeners to SQLAlchemy's events of flushes and statements. They use these modules:

- `owners`: the path of foreign keys to the owner; `own_rows`: the SQL condition that a row belongs to the principal.
- `requirements` and `links`: with `RESTRICTED_WRITES` in `Session.info`, a flush that changes a row of another user is
  a 403. The owner is checked both before and after the change.
- `restricted_writes` and `restricted_changes`: the same for statements. An INSERT is checked by its values, an UPDATE
  or DELETE by the rows that its WHERE finds.
- `restricted_reads`: with `RESTRICTED_READS` in `Session.info`, each statement finds only rows of the principal.
  `grouped_reads` completes the GROUP BY of such statements.

A superuser is not restricted.

Not checked are functions of the database, views, hints, custom operators, rows that the database changes by
`ON DELETE`, tables that are not entities, and changes by later listeners to `before_flush` or `before_update`.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, object_session

from kit.auth.checked_sessions import RESTRICTED_READS, RESTRICTED_WRITES, CheckedSession, GuardedSession
from kit.auth.grouped_reads import render_select
from kit.auth.links import linked_rows, refuse_links
from kit.auth.owners import is_principal, not_the_owner, owned_parent, without_owner
from kit.auth.read_only_sessions import ReadOnlySession, begin_for_cursor, begin_for_settings, refuse_write
from kit.auth.reserved import keep_reserved, keep_reserved_of
from kit.auth.restricted_changes import refuse_missing_versions
from kit.auth.restricted_reads import OWN_ROWS, refuse_text, set_execution_option
from kit.auth.restricted_writes import check_write
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity

__all__ = [
    "RESTRICTED_READS",
    "RESTRICTED_WRITES",
    "GuardedSession",
    "ReadOnlySession",
    "check_new_row",
    "render_select",
]
"""Other modules import the sessions from here: importing this module registers their listeners and compile rules."""


def check_new_row(row: Entity, *, is_restricted: bool) -> bool:
    """Check a new row that is stored without a session, and reset its reserved fields. Raises a 403.

    Returns False if the check needs a query by a session, because the owner is that of a parent row.
    """
    if is_restricted and row.belongs_to is not None and owned_parent(type(row)) is not None:
        return False
    if is_restricted and row.belongs_to is None:
        raise without_owner()
    if is_restricted and not is_principal(getattr(row, str(row.belongs_to))):
        raise not_the_owner()
    keep_reserved(row)
    return True


# --- Flushes: before the flush, few queries check the requirements of all rows. Each row is checked again before its
# INSERT, UPDATE or DELETE, when its relationships have set its foreign keys.


@event.listens_for(GuardedSession, "detached_to_persistent")
def remember_attached(session: GuardedSession, row: object) -> None:
    session.requirements.attached.add(inspect(row).key)


@event.listens_for(GuardedSession, "before_flush")
def check_flush(session: GuardedSession, _: object, only: Collection[object] | None) -> None:
    if CURRENT_PRINCIPAL.get().is_superuser:
        return
    changed = [*session.new, *(row for row in session.dirty if session.is_changed(row))]
    if session.is_restricted:
        check_rows(session, changed, only)
    keep_reserved_of(session, changed)


def check_rows(session: GuardedSession, changed: Collection[object], only: Collection[object] | None) -> None:
    """Check the rows of a flush, except foreign keys that relationships will set during the flush. Raises a 403."""
    touched, deleted = [*session.new, *session.dirty], session.deleted
    session.requirements.forget()
    if not only:
        session.requirements.proved.update(session.pending_ids())
    written = [*changed, *deleted, *linked_rows(touched)]
    session.requirements.check(session.requirements.of_rows(written, is_final=False), session.trusted_connection)
    refuse_links(touched, deleted)


@event.listens_for(Entity, "before_insert", propagate=True)
@event.listens_for(Entity, "before_update", propagate=True)
def keep_flushed_row(_: Mapper[Any], __: Connection, row: Entity) -> None:
    """Reset the reserved foreign keys that relationships of other rows have set during the flush."""
    session = object_session(row)
    if row.reserved and isinstance(session, GuardedSession) and not CURRENT_PRINCIPAL.get().is_superuser:
        keep_reserved(row, session)


@event.listens_for(Entity, "before_insert", propagate=True)
@event.listens_for(Entity, "before_delete", propagate=True)
def check_flushed_row(_: Mapper[Any], connection: Connection, row: Entity) -> None:
    session = object_session(row)
    if isinstance(session, GuardedSession) and session.is_restricted:
        session.requirements.check(session.requirements.of_rows([row], is_final=True), lambda: connection)


@event.listens_for(Entity, "before_update", propagate=True)
def check_updated_row(mapper: Mapper[Any], connection: Connection, row: Entity) -> None:
    session = object_session(row)
    if isinstance(session, GuardedSession) and session.is_restricted and session.is_changed(row):
        check_flushed_row(mapper, connection, row)


@event.listens_for(Entity, "after_insert", propagate=True)
def trust_inserted_row(_: Mapper[Any], connection: Connection, row: Entity) -> None:
    session = object_session(row)
    if isinstance(session, GuardedSession):
        session.requirements.proved.add((type(row), row.id))


# --- Statements


@event.listens_for(CheckedSession, "do_orm_execute")
def check_statement(state: ORMExecuteState) -> Any:
    """Check a statement of a session. Returns its result if the check has executed it; None lets SQLAlchemy execute it.

    Raises a 403, a `ReadOnlyError`, or an `OwnershipError` for a statement that cannot be checked.
    """
    session: Any = state.session
    if isinstance(session, ReadOnlySession):
        refuse_write(state)
        begin_for_cursor(session, state)
        begin_for_settings(session, state)
    elif state.is_update and isinstance(session, GuardedSession) and not session.is_restricted:
        refuse_missing_versions(state)
    if CURRENT_PRINCIPAL.get().is_superuser:
        return None
    state.bind_arguments.setdefault("clause", state.statement)
    is_restricted = session.is_restricted_by(RESTRICTED_WRITES, RESTRICTED_READS)
    if is_restricted:  # `get_bind` without it refuses to connect
        state.bind_arguments["bind"] = session.bind_of(**state.bind_arguments)
    if session.info.get(RESTRICTED_READS):
        refuse_text(state)
        set_execution_option(state, OWN_ROWS)
    if not isinstance(session, GuardedSession):
        return None
    with session.executing():
        result = check_write(session, state)
        is_executed_here = is_restricted and result is None and (state.is_insert or state.is_update)
        return state.invoke_statement() if is_executed_here else result
