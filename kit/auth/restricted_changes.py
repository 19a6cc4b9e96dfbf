"""Restricted changes: UPDATE and DELETE of rows that belong to the principal.

A SELECT … FOR UPDATE locks the rows that the statement finds. All of them must belong to the principal, also after an
UPDATE. A row of another user among them is a 403, and is not skipped silently, because the principal may read it. With
restricted reads the statement finds no rows of others, as a SELECT does: a 403 would tell that they exist. An UPDATE of
reserved fields is a 403.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import ORMExecuteState

from kit.auth.checked_sessions import RESTRICTED_READS, GuardedSession
from kit.auth.own_rows import is_own
from kit.auth.owners import OwnershipError, not_the_owner, table_of
from kit.auth.requirements import chunks
from kit.auth.reserved import reserved_columns, reserved_for_superusers
from kit.auth.restricted_reads import COMPILED, OWN_ROWS, RowsToChange
from kit.models.entities import Entity


def change_own_rows(session: GuardedSession, entity: type[Entity], state: ORMExecuteState) -> Any:
    """Execute an UPDATE or DELETE after its check, and return its result.

    Raises a 403 if a row belongs to another user before or after it, or if a reserved field changes.
    """
    conditions = list(conditions_of(entity, state))
    before = lock_rows(session, entity, state, conditions)
    refuse_missing_versions(state)
    statement: Any = state.statement
    if session.is_restricted and not state.is_executemany:  # excludes rows that appear after the lock
        statement = statement.where(is_own(entity, getattr(entity, str(entity.belongs_to))))
    if state.is_delete:
        return state.invoke_statement(statement)
    with session.begin_nested():
        result = state.invoke_statement(statement)
        after = watched_values(session, entity, before)
        if after.keys() != before.keys():
            raise not_the_owner()
        if after != before:
            raise reserved_for_superusers(entity.reserved)
    return result


def refuse_missing_versions(state: ORMExecuteState) -> None:
    """Raise a TypeError for a bulk UPDATE by primary key whose parameters lack the version that SQLAlchemy compares."""
    mapper = state.bind_mapper
    if not state.is_executemany or mapper is None or mapper.version_id_col is None or not state.is_orm_statement:
        return
    name, counter = mapper.class_.__name__, mapper.get_property_by_column(mapper.version_id_col).key
    is_by_id = state.execution_options.get("dml_strategy", "auto") in ("auto", "bulk")
    if is_by_id and not all(counter in row for row in parameter_sets(state)):
        raise TypeError(
            f"An update({name}) of many rows needs `{counter}` in each, the version that the row has now: add it, use "
            f"`change_many(session, {name}, ids, values)` for equal values, or set the attributes of the loaded rows."
        )


def conditions_of(entity: type[Entity], state: ORMExecuteState) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions for the rows that an UPDATE or DELETE changes: its WHERE, or the ids in its parameters."""
    statement: Any = state.statement
    if not state.is_executemany:
        yield true() if statement.whereclause is None else statement.whereclause
        return
    sets = parameter_sets(state)
    is_by_id = (
        bool(sets)
        and state.execution_options.get("dml_strategy", "auto") in ("auto", "bulk")
        and all("id" in values for values in sets)
    )
    if not is_by_id or statement.whereclause is not None:
        raise OwnershipError(
            "A restricted session checks an UPDATE with many parameters by the id of each, without where()."
        )
    for ids in chunks([values["id"] for values in sets]):
        yield table_of(entity).c.id.in_(ids)


def lock_rows(
    session: GuardedSession, entity: type[Entity], state: ORMExecuteState, conditions: Iterable[ColumnElement[bool]]
) -> dict[Any, Any]:
    """Lock the rows that a statement finds. Returns the values of their reserved columns, in a list by id.

    Raises a 403 for a row of another user in a restricted session; with restricted reads, only for ids in parameters.
    """
    rows = table_of(entity)
    owned = (is_own(entity) if session.is_restricted else true()).is_(true())
    statement: Any = (
        RowsToChange(rows.c.id, owned, *reserved_columns(entity)).select_from(rows).with_for_update(of=rows)
    )
    options: Any = {}
    if session.info.get(RESTRICTED_READS) and session.is_restricted and not state.is_executemany:
        statement = statement.where(is_own(entity))
    if session.info.get(RESTRICTED_READS):  # in subqueries of its conditions
        statement, options = statement.execution_options(**{OWN_ROWS: True}), {"compiled_cache": COMPILED[OWN_ROWS]}
    given: Any = state.parameters if isinstance(state.parameters, Mapping) else {}
    found: dict[Any, Any] = {}
    for condition in conditions:
        locked = session.trusted_connection().execute(statement.where(condition), given, execution_options=options)
        for ident, is_owned, *values in locked:
            if not is_owned:
                raise not_the_owner()
            found[ident] = values
    return found


def watched_values(session: GuardedSession, entity: type[Entity], ids: Collection[Any]) -> dict[Any, Any]:
    """Return the values of the reserved columns by id, as `lock_rows`, of those rows that belong to the principal."""
    rows = table_of(entity)
    statement = select(rows.c.id, *reserved_columns(entity)).where(is_own(entity) if session.is_restricted else true())
    found: dict[Any, Any] = {}
    for chunk in chunks(ids):
        for ident, *values in session.trusted_connection().execute(statement.where(rows.c.id.in_(chunk))):
            found[ident] = values
    return found


def parameter_sets(state: ORMExecuteState) -> list[Mapping[str, Any]]:
    """Return the parameters with which a statement is executed: several sets for executemany, none or one otherwise."""
    given: Any = state.parameters
    return [given] if isinstance(given, Mapping) else list(given or ())
