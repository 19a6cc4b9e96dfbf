"""Portability of downgrades: they restore CHECKs and indexes with text that both SQLite and PostgreSQL accept."""

from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, text
from sqlalchemy.sql.elements import conv

from kit.database.definitions import Definitions
from kit.database.sqlite_reflection import escaped, expression_index


def make_portable(op: ops.MigrateOperation, former: Definitions) -> None:
    """Make an operation of a downgrade valid on both databases, by changing it in place.

    `former` are the definitions before the migration in their original text, as `new_migration.former` returns them.
    """
    if isinstance(op, ops.ModifyTableOps):
        for part in op.ops:
            make_portable(part, former)
    elif isinstance(op, ops.CreateCheckConstraintOp):
        condition = former.checks.get((op.table_name, str(op.constraint_name)))
        op.condition = op.condition if condition is None else text(escaped(condition))
    elif isinstance(op, ops.CreateTableOp):
        op.columns = [portable_check(op.table_name, item, former) for item in op.columns]
    elif isinstance(op, ops.CreateIndexOp):
        restore_index(op, former.indexes.get((op.table_name, str(op.index_name))))


def restore_index(op: ops.CreateIndexOp, sql: str | None) -> None:
    """Set the condition of an index for both databases, and its expressions as in `sql`, its former CREATE INDEX."""
    where = op.kw.get("sqlite_where", op.kw.get("postgresql_where"))
    if sql is not None:
        index = expression_index(str(op.index_name), sql)
        where = index["dialect_options"].get("sqlite_where")
        if not all(isinstance(part, str | Column) for part in op.columns):
            op.columns = [text(expression) for expression in index["expressions"]]
    if where is not None:
        where = text(where) if isinstance(where, str) else where
        op.kw |= {"sqlite_where": where, "postgresql_where": where}


def portable_check(table_name: str, item: Any, former: Definitions) -> Any:
    condition = former.checks.get((table_name, str(item.name))) if isinstance(item, CheckConstraint) else None
    return item if condition is None else CheckConstraint(text(escaped(condition)), name=conv(str(item.name)))
