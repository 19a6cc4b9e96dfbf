"""Loaded versions: the rows of a session keep the right version when a statement changes them in the database.

Otherwise the next flush of such a row would find another version, and raise a StaleDataError.
"""

from typing import Any, cast

from sqlalchemy import inspect, select
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.orm.attributes import set_committed_value

from kit.auth.ownership import GuardedSession
from kit.auth.requirements import chunks
from kit.auth.restricted_reads import parts_of
from kit.models.entities import Entity


def keep_versions(state: ORMExecuteState) -> Any:
    """Execute an UPDATE or upsert of an entity with loaded rows, and return its result; None for other statements.

    Listens to `do_orm_execute`.
    """
    mapper = state.bind_mapper
    if not (state.is_update or state.is_insert) or mapper is None or not issubclass(mapper.class_, Entity):
        return None
    versions = loaded_versions(state, mapper.class_)
    if not versions or (state.is_insert and not is_upsert(state)):
        return None
    result = state.invoke_statement()
    if is_synchronized(state):
        expired = [(row, version) for row, version in versions if "version" not in row.__dict__]
        for row, version in expired:
            set_committed_value(row, "version", version + 1)
    else:
        reload_versions(cast("GuardedSession", state.session), mapper.class_, versions)
    return result


def loaded_versions(state: ORMExecuteState, entity: type[Entity]) -> list[tuple[Entity, int]]:
    """Return the rows of an entity in the session whose version is loaded, each with its version."""
    rows = [row for row in state.session.identity_map.values() if isinstance(row, entity)]
    return [(row, row.__dict__["version"]) for row in rows if "version" in row.__dict__]


def is_upsert(state: ORMExecuteState) -> bool:
    return any(part.__visit_name__ == "on_conflict_do_update" for part in parts_of(state))


def is_synchronized(state: ORMExecuteState) -> bool:
    """Return whether SQLAlchemy itself updates or expires the loaded rows that the statement changes."""
    is_single_update = state.is_update and not state.is_executemany
    return is_single_update and state.execution_options.get("synchronize_session", "auto") in (
        "auto",
        "evaluate",
        "fetch",
    )


def reload_versions(session: GuardedSession, entity: type[Entity], versions: list[tuple[Entity, int]]) -> None:
    """Update the loaded versions of the rows whose version this statement has raised.

    A version that is higher by more was also raised by another transaction: the row is stale, as it is without this.
    """
    stored: dict[Any, int] = {}
    columns = inspect(entity).local_table.c
    for ids in chunks([inspect(row).identity[0] for row, _ in versions]):
        found = session.trusted_connection().execute(select(columns.id, columns.version).where(columns.id.in_(ids)))
        stored.update((ident, version) for ident, version in found)
    for row, version in versions:
        if stored.get(inspect(row).identity[0]) == version + 1:
            set_committed_value(row, "version", version + 1)
