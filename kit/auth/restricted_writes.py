"""Restricted writes: INSERT, UPDATE and DELETE of rows that belong to the principal.

An INSERT is checked by its values, an UPDATE or DELETE by the rows that it finds (`restricted_changes`). A statement
that cannot be checked raises an `OwnershipError`, which says what to write instead.

These statements also protect the reserved fields of an entity, in unrestricted sessions of members too.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    SelectBase,
    TableClause,
    TextualSelect,
    UpdateBase,
)
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement

from kit.auth.checked_sessions import RESTRICTED_READS, GuardedSession
from kit.auth.links import refuse_link_table
from kit.auth.owners import OwnershipError, entity_of, owned_parent, table_of, without_owner
from kit.auth.reserved import reserved_for_superusers
from kit.auth.restricted_changes import change_own_rows, parameter_sets
from kit.auth.restricted_reads import CHECKED, parts_of, refuse_text, set_execution_option
from kit.models.entities import Entity


def check_write(session: GuardedSession, state: ORMExecuteState) -> Any:
    """Check a statement that changes rows of an entity. Returns the result of an UPDATE or DELETE, which it executes.

    Returns None for statements that SQLAlchemy is to execute. Raises a 403 for rows of other users or reserved fields,
    and an OwnershipError for a statement that cannot be checked.
    """
    entity = restricted_target(session, state) if session.is_restricted else reserved_target(state)
    if entity is None:
        return None
    if session.autoflush:
        session.flush()
    if state.is_insert:
        return check_insert(session, entity, state)
    return change_own_rows(session, entity, state)


def restricted_target(session: GuardedSession, state: ORMExecuteState) -> type[Entity] | None:
    """Return the entity whose rows a statement changes, if any. Raises an OwnershipError if it cannot be checked."""
    refuse_unknown(state)
    tables = tables_of(state)
    for rows in tables:
        refuse_link_table(rows)
    entity = next(filter(None, map(entity_of, tables)), None)
    if entity is not None:
        refuse_unsafe(entity, state)
        if not session.info.get(RESTRICTED_READS):  # otherwise OWN_ROWS is set, which includes CHECKED
            set_execution_option(state, CHECKED)
    return entity


def reserved_target(state: ORMExecuteState) -> type[Entity] | None:
    """Return the entity with reserved fields whose rows a statement of an unrestricted session changes, or None."""
    mapper = state.bind_mapper
    if state.is_select or (mapper is not None and not getattr(mapper.class_, "reserved", None)):
        return None  # the common case, without a search for tables
    entities = filter(None, map(entity_of, tables_of(state)))
    return next((entity for entity in entities if entity.reserved), None)


def tables_of(state: ORMExecuteState) -> list[TableClause]:
    """Return the tables in the target of an INSERT, UPDATE or DELETE: one, also if the target is an alias."""
    statement: Any = state.statement
    parts = visitors.iterate(statement.table) if isinstance(statement, UpdateBase) else ()
    return [part for part in parts if isinstance(part, TableClause)]


# --- Refused statements


def refuse_unknown(state: ORMExecuteState) -> None:
    """Raise an OwnershipError unless a statement is a query, or one change of one table without another inside."""
    statement = state.statement
    is_known = isinstance(statement, UpdateBase | FunctionElement) or state.is_select
    parts = parts_of(state)
    is_nested = any(isinstance(part, UpdateBase) and part is not statement for part in parts)
    if not is_known or is_nested or any(isinstance(part, TextualSelect) for part in parts):
        raise OwnershipError(
            "A restricted session cannot tell whose rows this statement changes: write select(), insert(), update() or "
            "delete() of an entity, neither text nor one within another."
        )


def refuse_unsafe(entity: type[Entity], state: ORMExecuteState) -> None:
    """Raise an OwnershipError for a change of a `Table` instead of the class, with SQL text, or with an upsert."""
    name = entity.__name__
    if entity.belongs_to is None:
        raise without_owner()
    if not is_of(entity, state):
        raise OwnershipError(f"A restricted session checks no changes of a Table or alias: write update({name}).")
    refuse_text(state)
    if any(part.__visit_name__ == "on_conflict_do_update" for part in parts_of(state)):
        raise OwnershipError(f"A restricted session does not check an upsert: select {name} first, then change or add.")


def is_of(entity: type[Entity], state: ORMExecuteState) -> bool:
    """Return whether a statement uses the class of an entity, not its table or an alias."""
    statement: Any = state.statement
    with suppress(KeyError):
        return state.is_orm_statement and statement.entity_description["entity"] is entity
    return False


# --- INSERT


def check_insert(session: GuardedSession, entity: type[Entity], state: ORMExecuteState) -> None:
    """Raise a 403 if an INSERT sets reserved fields, or owners other than the principal."""
    rows = inserted_rows(session, entity, state)
    changed = {name for row in rows for name, first in entity.reserved.items() if row.get(name, first) != first}
    if changed:
        raise reserved_for_superusers(changed)
    if session.is_restricted:
        requirements = [(owned_parent(entity), row.get(str(entity.belongs_to))) for row in rows]
        session.requirements.forget()
        session.requirements.check(requirements, session.trusted_connection)


def inserted_rows(session: GuardedSession, entity: type[Entity], state: ORMExecuteState) -> Sequence[Mapping[str, Any]]:
    """Return the values of each row of an INSERT by column. Raises an OwnershipError if they cannot be known here."""
    statement: Any = state.bind_arguments["clause"]  # the statement as it was passed, which can be compiled
    fixed = statement.compile(dialect=session.get_bind().dialect, column_keys=[]).params
    given, parts = parameter_sets(state), list(visitors.iterate(statement))
    has_values = any(isinstance(part, BindParameter) for part in parts)
    has_many_rows = not fixed.keys() <= set(table_of(entity).columns.keys())  # their names are numbered
    if any(map(is_expression, parts)) or (given and has_values) or has_many_rows:
        raise OwnershipError(
            f"A session cannot check the values of this INSERT: write insert({entity.__name__}) with plain values, or "
            "with its rows as parameters."
        )
    return given or [fixed]


def is_expression(element: object) -> bool:
    """Return whether an element is computed by the database, so that its value is unknown before the execution."""
    is_value = isinstance(element, Column) or (isinstance(element, BindParameter) and element.unique)
    return isinstance(element, SelectBase) or (isinstance(element, ColumnElement) and not is_value)
