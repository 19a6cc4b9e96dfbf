"""Comparison of defaults: finds columns whose default in the database differs from that of the model.

Both are read from the database itself (`definitions.py`), and compared as texts without casts, quotes and parentheses.
A downgrade restores the former default on both databases, as far as its value is known.
"""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Connection, DefaultClause, Table, literal_column, select
from sqlalchemy.types import NullType, TypeEngine

from kit.database.declared_types import declared_in
from kit.database.definitions import Definitions, is_changed
from kit.database.generated_columns import recreate
from kit.database.revision_operations import StatementsOp
from kit.database.sqlite_reflection import closing
from kit.database.storage_kinds import kind_of
from kit.models.columns import DecimalColumn, DurationColumn
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
    """Append operations for changed defaults of columns, and for changed generated columns, to `found`."""
    altered = {op.column_name: op for op in found.ops if isinstance(op, ops.AlterColumnOp)}
    types, connection = declared_in(context.migration_context), context.connection
    assert connection is not None
    for column in model.columns:
        key = (model.name, column.name)
        if column.name not in table.columns:
            continue
        if is_changed(stored.computed.get(key), declared.computed.get(key)):
            found.ops += recreate(found, table, model, column.name, stored)
        elif normal(stored.defaults.get(key, "")) != normal(declared.defaults.get(key, "")):
            old = table.columns[column.name]
            op = altered.get(column.name) or ops.AlterColumnOp(
                model.name, column.name, existing_type=column.type, existing_nullable=old.nullable
            )
            op.modify_server_default = column.server_default
            former = stored.defaults.get(key)
            kind = column.type if op.modify_type is None else types.get(key, NullType())
            op.existing_server_default = former and DefaultClause(default_in_both(connection, kind, former))
            found.ops += [] if column.name in altered else [op]


def lengthened_moments(stored: Definitions, declared: Definitions) -> Iterator[StatementsOp]:
    """Yield the UPDATEs of times that a former default has stored on SQLite, without a fraction of a second."""
    for table, column in sorted(stored.defaults.keys() & declared.defaults.keys()):
        if (stored.defaults[table, column], declared.defaults[table, column]) == ("CURRENT_TIMESTAMP", NOW):
            name = f'"{column}"'
            lengthen = f"UPDATE \"{table}\" SET {name} = {name} || '.000000' WHERE length({name}) = 19"  # noqa: S608
            yield StatementsOp("sqlite", [lengthen], [])


def default_in_both(connection: Connection, kind: TypeEngine[Any], sql: str, original: str | None = None) -> Any:
    """Return the default of a column for both databases.

    `sql` is its text in this database, and `original` that of the migrations, which is used for expressions.
    """
    texts = {normal(text): PerDatabase(*pair) for pair in FUNCTIONS.values() for text in pair}
    known: Any = texts[normal(sql)] if normal(sql) in texts else value_of(connection, kind, sql)
    if known is None:
        return literal_column(sql) if original is None else PerDatabase(original, original)
    return known


def value_of(connection: Connection, declared: TypeEngine[Any], sql: str) -> Any:
    """Return the value of a default for both databases; None if it is not a literal, or not a value of the column."""
    kind = type_with_values(declared)
    if type(kind) not in TYPES or literal_in(sql) is None:
        return None
    is_sqlite, name = connection.dialect.name == "sqlite", kind.compile(dialect=connection.dialect)
    raw = f"CAST({sql} AS INTEGER)" if is_sqlite and name in ("INTEGER", "BIGINT", "BOOLEAN") else sql
    return in_both(kind, connection.scalar(select(literal_column(raw, kind))))


def type_with_values(declared: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the kit's column type for a type of decimals or durations that a migration names, others as they are."""
    kind = kind_of(declared)
    if type(declared) in TYPES or kind is None:
        return declared
    if kind.name == "decimal" and kind.whole is not None and kind.places is not None:
        return DecimalColumn(kind.whole, kind.places, is_fixed=getattr(declared, "precision", None) is not None)
    return DurationColumn() if kind.name == "duration" else declared
