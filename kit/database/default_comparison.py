"""Comparison of defaults: finds columns whose default in the database differs from that of the model.

Both are read from the database itself (`definitions.py`), and compared as texts without casts, quotes and parentheses.
A downgrade restores the former default on both databases, as far as its value is known.
"""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Connection, DefaultClause, Table, literal_column, select

from kit.database.definitions import Definitions
from kit.database.revision_operations import RemarkOp, StatementsOp
from kit.database.sqlite_reflection import closing
from kit.models.server_defaults import FUNCTIONS, QUOTED, TYPES, PerDatabase, in_both, literal_in
from kit.models.sqlite_times import NOW

SAME = {"now()": "current_timestamp", "null": ""}
"""Other texts of the same default."""


def normal(sql: str) -> str:
    """Return the text of a default without parentheses, quotes and casts around it; empty for NULL."""
    text = sql.strip()
    while text.startswith("(") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    if found := QUOTED.fullmatch(text):
        return next(part for part in found.groups() if part is not None)
    return SAME.get(text.lower(), text)


def alter_defaults(
    context: AutogenContext,
    found: ops.ModifyTableOps,
    table: Table,
    model: Table,
    stored: Definitions,
    declared: Definitions,
) -> None:
    """Append operations for changed defaults of columns to `found`, and comments for changed generated columns."""
    altered = {op.column_name: op for op in found.ops if isinstance(op, ops.AlterColumnOp)}
    for column in model.columns:
        key = (model.name, column.name)
        if column.name not in table.columns:
            continue
        if stored.computed.get(key) != declared.computed.get(key):
            line = f"Not migrated: the expression of {model.name}.{column.name}. Drop the column, and add it again."
            found.ops.append(RemarkOp(line))
        elif normal(stored.defaults.get(key, "")) != normal(declared.defaults.get(key, "")):
            old = table.columns[column.name]
            op = altered.get(column.name) or ops.AlterColumnOp(
                model.name, column.name, existing_type=column.type, existing_nullable=old.nullable
            )
            op.modify_server_default = column.server_default
            op.existing_server_default = former_default(context.connection, column, stored.defaults.get(key), op)
            found.ops += [] if column.name in altered else [op]


def lengthened_moments(stored: Definitions, declared: Definitions) -> Iterator[StatementsOp]:
    """Yield the UPDATEs of times that a former default has stored on SQLite, without a fraction of a second."""
    for table, column in sorted(stored.defaults.keys() & declared.defaults.keys()):
        if (stored.defaults[table, column], declared.defaults[table, column]) == ("CURRENT_TIMESTAMP", NOW):
            name = f'"{column}"'
            lengthen = f"UPDATE \"{table}\" SET {name} = {name} || '.000000' WHERE length({name}) = 19"  # noqa: S608
            yield StatementsOp("sqlite", [lengthen], [])


def former_default(
    connection: Connection | None, column: Column[Any], sql: str | None, op: ops.AlterColumnOp
) -> DefaultClause | None:
    """Return the default that a column had, for both databases; of a column with another type, for this one only."""
    if sql is None or connection is None:
        return None
    if op.modify_type is not None:
        return DefaultClause(literal_column(sql))
    texts = {normal(text): PerDatabase(*pair) for pair in FUNCTIONS.values() for text in pair}
    known: Any = texts[normal(sql)] if normal(sql) in texts else value_of(connection, column, sql)
    return DefaultClause(literal_column(sql) if known is None else known)


def value_of(connection: Connection, column: Column[Any], sql: str) -> Any:
    """Return the value of a default for both databases; None if it is not a literal, or not a value of the column."""
    if type(column.type) not in TYPES or literal_in(sql) is None:
        return None
    is_sqlite, kind = connection.dialect.name == "sqlite", column.type.compile(dialect=connection.dialect)
    raw = f"CAST({sql} AS INTEGER)" if is_sqlite and kind in ("INTEGER", "BIGINT", "BOOLEAN") else sql
    return in_both(column.type, connection.scalar(select(literal_column(raw, column.type))))
