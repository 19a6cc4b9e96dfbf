"""Ownership: rows that belong to a principal, and sessions that neither change nor show the rows of others.

An entity names in `belongs_to` the foreign key that leads to its owner: to a user, or to a row that has an owner itself
(`InvoiceLine.belongs_to = "invoice_id"`, `Invoice.belongs_to = "owner_id"`). A row may have no owner.

`RESTRICTED_WRITES` in a session's `info`: a change of a row that does not belong to the principal is a 403. A flush is
checked by what the rows refer to, before and after the change (`requirements`, `links`); an INSERT, UPDATE or DELETE by
its values, or the rows that its WHERE finds (`restricted_writes`).

`RESTRICTED_READS`: each statement finds only rows that belong to the principal (`restricted_reads`).

A superuser is not restricted.

Not checked are functions of the database, views, hints, custom operators, rows that the database changes by
`ON DELETE`, tables that are not entities, and changes by later listeners to `before_flush` or `before_update`.
"""

from collections.abc import Collection
from typing import Annotated, Any, cast
from weakref import WeakKeyDictionary

import pydantic
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection, Select, TextClause, TextualSelect, UpdateBase, event, inspect
from sqlalchemy.engine import Compiled, ExecutionContext
from sqlalchemy.orm import FromStatement, Mapper, ORMExecuteState, Session, object_session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement

from kit.auth.checked_sessions import (
    RESTRICTED_READS,
    RESTRICTED_WRITES,
    CheckedSession,
    GuardedSession,
    ReadOnlyError,
    ReadOnlySession,
    is_writing_text,
    read_only,
)
from kit.auth.links import linked_rows, refuse_links
from kit.auth.owners import OwnershipError, is_principal, not_the_owner, owned_parent
from kit.auth.reserved import keep_reserved, keep_reserved_of
from kit.auth.restricted_changes import refuse_missing_versions
from kit.auth.restricted_reads import OWN_ROWS, parts_of, refuse_text, set_execution_option
from kit.auth.restricted_writes import check_write
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.models.json_forms import JSONForm
from kit.models.types import MAX_ID

__all__ = [
    "RESTRICTED_READS",
    "RESTRICTED_WRITES",
    "Absent",
    "GuardedSession",
    "Owner",
    "OwnershipError",
    "ReadOnlyError",
    "ReadOnlySession",
    "check_new_row",
    "owned_parent",
]


class Absent:
    """The default of a missing `Owner` field, which validation replaces by the principal."""


def principal_if_absent(value: object) -> object:
    if not isinstance(value, Absent):
        return value
    principal = CURRENT_PRINCIPAL.get()
    if principal.id is None:
        raise PydanticCustomError("missing", "Field required")
    return principal.id


Owner = Annotated[
    int,
    pydantic.Field(ge=1, le=MAX_ID, validate_default=True),
    JSONForm("integer"),
    BeforeValidator(principal_if_absent),
]
"""The id of the owner of a row. With `default_factory=Absent` the principal is the default."""


def check_new_row(row: Entity, *, is_restricted: bool) -> bool:
    """Check a new row without a session. Returns False if it needs one, because its owner is that of a parent."""
    if is_restricted and row.belongs_to is not None and owned_parent(type(row)) is not None:
        return False
    if is_restricted and (row.belongs_to is None or not is_principal(getattr(row, row.belongs_to))):
        raise not_the_owner()
    keep_reserved(row)
    return True


# --- Flushes: requirements are checked before the flush by few queries, and once more for each row when its
# relationships have set its foreign keys.


@event.listens_for(ReadOnlySession, "transient_to_pending")
def refuse_to_add(session: Session, row: object) -> None:
    raise read_only()


@event.listens_for(ReadOnlySession, "before_flush")
def refuse_to_flush(session: Session, *_: object) -> None:
    if session.new or session.deleted or any(map(session.is_modified, session.dirty)):
        raise read_only()


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
    """Check the rows of a flush, as far as their values are known before it."""
    touched, deleted = [*session.new, *session.dirty], session.deleted
    session.requirements.forget()
    if not only:
        session.requirements.proved.update(session.pending_ids())
    written = [*changed, *deleted, *linked_rows(touched)]
    session.requirements.check(session.requirements.of_rows(written, is_final=False), session.trusted_connection)
    refuse_links(touched, deleted)


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

HIDES_WRITE: WeakKeyDictionary[Compiled, bool] = WeakKeyDictionary()
"""Whether a compiled statement contains a statement that writes."""


@event.listens_for(CheckedSession, "do_orm_execute")
def check_statement(state: ORMExecuteState) -> Any:
    """Check an ORM statement of a session. Returns the result if it was executed here, or None.

    A listener to `do_orm_execute`.
    """
    session = state.session
    if isinstance(session, ReadOnlySession):
        refuse_write(state)
    elif state.is_update and isinstance(session, GuardedSession) and not session.is_restricted:
        refuse_missing_versions(state)
    if CURRENT_PRINCIPAL.get().is_superuser:
        return None
    state.bind_arguments.setdefault("clause", state.statement)  # `get_bind` without a statement refuses to connect
    if session.info.get(RESTRICTED_READS):
        refuse_text(state)
        set_execution_option(state, OWN_ROWS)
    if isinstance(session, GuardedSession):
        return check_write(session, state)
    return None


def refuse_write(state: ORMExecuteState) -> None:
    statement: Any = state.statement
    core = statement.element if isinstance(statement, FromStatement) else statement
    is_reading_text = isinstance(core, TextClause) and not is_writing_text(str(core))
    if not (state.is_select or is_reading_text or isinstance(core, FunctionElement)):
        raise read_only()
    if not isinstance(core, Select) and any(map(is_writing, parts_of(state))):
        raise read_only()


def refuse_hidden_write(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: ExecutionContext, _: bool
) -> None:
    """Refuse a SELECT that contains a writing statement. A listener to `before_cursor_execute` of the read engine.

    PostgreSQL has such SELECTs. The search for the other statement takes time, so it is done once for each compiled
    statement in SQLAlchemy's cache.
    """
    compiled = context.compiled
    if compiled is None:
        return
    if compiled not in HIDES_WRITE:
        parts: Any = visitors.iterate(cast("Any", compiled.statement))
        HIDES_WRITE[compiled] = any(map(is_writing, parts))
    if HIDES_WRITE[compiled]:
        raise read_only()


def is_writing(element: object) -> bool:
    """Return whether a statement, or a part of it, may write."""
    if isinstance(element, TextualSelect):
        return is_writing_text(str(element.element))
    return isinstance(element, UpdateBase)
