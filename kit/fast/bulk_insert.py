"""Bulk inserts: many new rows of one entity are stored by one INSERT, without the ORM.

In a savepoint the driver executes it (`array_insert`), in a third of the time of SQLAlchemy's `insertmanyvalues`.
Afterwards the rows are persistent in the session, as after a flush.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, column, func, insert, inspect, select, table
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from kit.auth.checked_sessions import NotStored
from kit.fast.array_insert import compiled_insert, insert_by_driver
from kit.fast.mappings import EntityMapping, mapping_of
from kit.fast.persistent_rows import add_many_flushed
from kit.fast.single_insert import is_insertable
from kit.models.entities import Entity

BREAK_AFTER = 50
"""The number of rows after which the task lets the event loop serve other requests."""
SEQUENCES = table("sqlite_sequence", column("name"), column("seq"))


async def insert_without_orm(session: Any, rows: Sequence[Entity]) -> bool:
    """Store new rows of a `FastWriteSession` by one INSERT. Returns False if the ORM has to store them."""
    mapping = mapping_of(type(rows[0])) if rows and session.shortcuts.has_bulk else None
    if mapping is None or session.shortcuts.listeners.listen_to_insert(session.sync_session, mapping.entity):
        return False
    await session.flush()
    if not are_alike(rows, mapping):
        return False
    await session.check_new_rows(rows)
    had_ids = rows[0].id is not None
    try:
        ordered = await session.in_key_order(rows)
        await session.run_sync(lambda sync: insert_alike(sync.trusted_connection(), ordered, mapping))
    except Exception:
        if not had_ids:
            set_ids(rows, [None] * len(rows))
        raise
    for start in range(0, len(rows), BREAK_AFTER):
        add_many_flushed(session.sync_session, rows[start : start + BREAK_AFTER])
        await asyncio.sleep(0)
    return True


def are_alike(rows: Sequence[Entity], mapping: EntityMapping) -> bool:
    """Return whether one INSERT can store these new rows: all are of one entity, and either all or none have an id."""
    kinds = {(type(row), row.id is None) for row in rows}
    return len(kinds) == 1 and all(instance_state(row).transient and is_insertable(row, mapping) for row in rows)


def insert_alike(connection: Connection, rows: Sequence[Entity], mapping: EntityMapping) -> None:
    """Insert rows for which `are_alike`. Rows without an id get ascending ids in the given order.

    Raises the exceptions of SQLAlchemy, and `NotStored` if the database has skipped a row.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite and rows[0].id is None:
        set_ids(rows, next_ids(connection, mapping, len(rows)))
    has_ids = rows[0].id is not None
    if connection.in_nested_transaction() and mapping.is_shareable:  # in a savepoint, the driver has sent BEGIN
        ids: Any = insert_by_driver(connection, compiled_insert(mapping, connection.dialect, has_id=has_ids), rows)
    else:
        ids = insert_by_sqlalchemy(connection, rows, mapping, has_ids=has_ids)
    if len(ids) != len(rows):
        raise NotStored
    if not has_ids:
        set_ids(rows, ids)


def insert_by_sqlalchemy(
    connection: Connection, rows: Sequence[Entity], mapping: EntityMapping, *, has_ids: bool
) -> Sequence[Any]:
    """Insert rows by SQLAlchemy. Returns the same as `insert_by_driver`."""
    is_sqlite = connection.dialect.name == "sqlite"
    fields = {name: part.key for name, part in mapping.columns.items() if has_ids or name != "id"}
    values = [{key: row.__dict__[name] for name, key in fields.items()} for row in rows]
    statement: Any = insert(_table_of(mapping))
    if not is_sqlite:  # one statement for all rows: on PostgreSQL only with RETURNING, on SQLite only without
        statement = statement.returning(mapping.columns["id"], sort_by_parameter_order=not has_ids)
    result = connection.execute(statement, values)
    return range(result.rowcount) if is_sqlite else result.scalars().all()


def set_ids(rows: Sequence[Entity], ids: Iterable[int | None]) -> None:
    for row, ident in zip(rows, ids, strict=True):
        set_committed_value(row, "id", ident)


def next_ids(connection: Connection, mapping: EntityMapping, count: int) -> range:
    """Return the next `count` ids that SQLite would generate. They stay free, because SQLite has one writer."""
    numbered = _table_of(mapping)
    remembered = select(SEQUENCES.c.seq).where(SEQUENCES.c.name == numbered.name)
    largest = select(func.max(mapping.columns["id"]))
    has_memory = numbered.dialect_options["sqlite"]["autoincrement"]
    last: int = connection.scalar(remembered if has_memory else largest) or 0
    return range(last + 1, last + 1 + count)


def _table_of(mapping: EntityMapping) -> Table:
    local = inspect(mapping.entity).local_table
    assert isinstance(local, Table)
    return local
