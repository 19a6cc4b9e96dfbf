"""Portability of downgrades: they restore tables, columns, CHECKs and indexes in a form for SQLite and PostgreSQL.

Alembic writes what it reflects from the database at hand: a decimal is a BIGINT on SQLite, and an id a BIGINT with
AUTOINCREMENT only there. Therefore types, conditions and defaults are those that the earlier migrations have declared.
"""

from dataclasses import dataclass, field
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Computed, Connection, DefaultClause, text
from sqlalchemy.sql.elements import conv

from kit.database.declared_comments import Comments
from kit.database.declared_types import Types, without_check
from kit.database.default_comparison import default_in_both
from kit.database.definitions import Definitions
from kit.database.migrated_conditions import ByText
from kit.database.revision_operations import check_op
from kit.database.sqlite_reflection import escaped, expression_index, plain
from kit.models.server_defaults import PerDatabase


@dataclass(frozen=True)
class Before:
    """The state before a migration, as `new_migration.former` returns it: all in the text of the migrations."""

    definitions: Definitions = field(default_factory=Definitions)
    types: Types = field(default_factory=dict)
    conditions: ByText = field(default_factory=dict)
    comments: Comments | None = None

    def restore(self, connection: Connection, op: ops.MigrateOperation) -> ops.MigrateOperation:
        """Return an operation of a downgrade that is valid on both databases."""
        if isinstance(op, ops.ModifyTableOps):
            op.ops[:] = [self.restore(connection, part) for part in op.ops]
        elif isinstance(op, ops.CreateCheckConstraintOp):
            condition = self.condition(op.table_name, op.constraint_name)
            return op if condition is None else check_op(str(op.constraint_name), op.table_name, condition)
        elif isinstance(op, ops.CreateTableOp):
            self.restore_table(connection, op)
        elif isinstance(op, ops.AddColumnOp):
            self.restore_column(connection, op.table_name, op.column)
        elif isinstance(op, ops.AlterColumnOp):
            self.restore_default(op)
        elif isinstance(op, ops.CreateIndexOp):
            restore_index(op, self.definitions.indexes.get((op.table_name, str(op.index_name))))
        return op

    def condition(self, table: str, name: Any) -> Any:
        """Return the condition of a CHECK, as text or as that of each database; None if the CHECK is not known."""
        sql = self.definitions.checks.get((table, str(name)))
        if sql is None:
            return None
        pair = self.conditions.get((str(name), plain(sql)))
        return text(escaped(sql)) if pair is None else PerDatabase(*pair)

    def restore_table(self, connection: Connection, op: ops.CreateTableOp) -> None:
        op.columns = [self.restored(connection, op.table_name, item) for item in op.columns]
        if op.table_name in self.definitions.numbered:
            op.kw["sqlite_autoincrement"] = True

    def restored(self, connection: Connection, table: str, item: Any) -> Any:
        """Return a column or constraint of a table."""
        if isinstance(item, Column):
            self.restore_column(connection, table, item)
        condition = self.condition(table, item.name) if isinstance(item, CheckConstraint) else None
        return item if condition is None else CheckConstraint(condition, name=conv(str(item.name)))

    def restore_column(self, connection: Connection, table: str, column: Column[Any]) -> None:
        """Set the declared type of a column, its default and its expression. A column that is not known stays."""
        key, default = (table, column.name), column.server_default
        if key not in self.types:
            return
        column.type, column.autoincrement = without_check(self.types[key]), "auto"
        if column.computed is not None and key in self.definitions.computed:
            column.computed.sqltext = text(escaped(self.definitions.computed[key]))
        elif isinstance(default, DefaultClause) and not isinstance(default, Computed):
            original = self.definitions.defaults.get(key)
            column.server_default = DefaultClause(default_in_both(connection, column.type, text_of(default), original))

    def restore_default(self, op: ops.AlterColumnOp) -> None:
        """Set the original text of a default that is an expression of the database at hand."""
        original = self.definitions.defaults.get((op.table_name, op.column_name))
        default = op.modify_server_default
        if isinstance(default, DefaultClause) and is_expression(default) and original is not None:
            op.modify_server_default = DefaultClause(PerDatabase(original, original))


def is_expression(default: DefaultClause) -> bool:
    return not isinstance(default.arg, str | PerDatabase)


def text_of(default: DefaultClause) -> str:
    """Return the SQL of a reflected default."""
    return str(default.arg)


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
