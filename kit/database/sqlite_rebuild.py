"""Rebuilding tables of SQLite: Alembic's batch mode, extended to keep the parts of a table that it would lose.

SQLite has few forms of ALTER TABLE. For others, Alembic reflects the table, creates a new one, copies the rows, drops
the old table and renames the new one. Its reflection misses indexes on expressions, which `CompleteSQLiteDialect`
reads, and triggers, AUTOINCREMENT with its counter, collations and unnamed CHECKs, which `CompleteSQLiteImpl` copies.
Alembic would also copy generated columns, which SQLite refuses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alembic.ddl.impl import ComparisonResult
from alembic.operations.batch import ApplyBatchImpl, BatchOperationsImpl
from sqlalchemy import CheckConstraint, Column, Connection, Index, String, Table, text
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex

from kit.database.declared_comments import RecordedComments
from kit.database.declared_types import RecordedTypes
from kit.database.search_indexes import drop_fts5
from kit.database.sqlite_casts import CheckedCasts
from kit.database.sqlite_reflection import (
    CompleteSQLiteDialect,
    collations,
    escaped,
    has_autoincrement,
    plain,
    stored,
    table_sql,
    unnamed_checks,
)

DRIVER = "sqlite+complete"
"""The driver name, in the URL of an engine for migrations, that selects `CompleteSQLiteDialect`."""
registry.register("sqlite.complete", CompleteSQLiteDialect.__module__, CompleteSQLiteDialect.__name__)


@dataclass
class Restoration:
    """The parts to restore after a rebuild: the AUTOINCREMENT counter, indexes, and CREATE statements of triggers."""

    counter: int | None = None
    statements: list[str] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)


class CompleteSQLiteImpl(CheckedCasts, RecordedTypes, RecordedComments):
    """Alembic's operations on SQLite. Its definition replaces Alembic's own class for the dialect."""

    __dialect__ = "sqlite"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rebuilt: dict[str, Restoration] = {}
        """The parts to restore, by the temporary name of the new table."""

    def requires_recreate_in_batch(self, batch_op: BatchOperationsImpl) -> bool:
        """Return whether a batch needs a new table. Its renames of columns do not, and are executed here.

        SQLite's RENAME COLUMN also renames the column in indexes, triggers, CHECKs and views.
        """
        others = list(self.without_comments(batch_op.table_name, batch_op.batch))
        batch_op.batch[:] = self.without_renames(batch_op.table_name, others)
        return super().requires_recreate_in_batch(batch_op)

    def without_renames(self, table: str, batch: list[Any]) -> Iterator[Any]:
        """Execute the renames of columns in a batch, and yield its other operations with the new names."""
        renamed: dict[str, str] = {}
        for name, args, options in list(batch):
            if name != "alter_column":
                yield name, args, options
                continue
            column = renamed.get(args[1], args[1])
            if (new := options.pop("name", None)) not in (None, column):
                self.alter_column(table, column, name=new)
                renamed[args[1]] = column = new
            if (using := options.pop("sqlite_using", None)) is not None:
                self.using[table, column] = using
            if any(options.get(change) is not None for change in ("nullable", "type_", "autoincrement")) or (
                options.get("server_default", False) is not False
            ):
                yield name, (args[0], column, *args[2:]), options

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Add the parts that reflection misses to the new table, and store those that `rename_table` restores."""
        super().prep_table_for_batch(batch_impl, table)
        connection, new = self.connection, batch_impl.new_table
        assert connection is not None
        drop_fts5(connection, table.name)  # a rebuild may change rowids; `ensure_search` creates the index again
        assert new is not None
        kept = Restoration(indexes=list(batch_impl.new_indexes.values()))
        indexes, triggers = stored(connection, "index", table.name), stored(connection, "trigger", table.name)
        kept.statements += [sql for name, sql in indexes.items() if name in batch_impl.indexes]
        kept.statements += triggers.values()
        batch_impl.indexes, batch_impl.new_indexes = {}, {}
        keep_collations(connection, table.name, new)
        for column in new.columns:
            if column.computed is not None:  # SQLite computes it, and refuses a copied value
                batch_impl.column_transfers.pop(str(column.name), None)
        if not any(isinstance(arg, CheckConstraint) for arg in batch_impl.table_args):
            for check in unnamed_checks(connection, table.name):
                new.append_constraint(CheckConstraint(text(escaped(check))))
        if has_autoincrement(connection, table.name) and batch_impl.table_kwargs.get("sqlite_autoincrement", True):
            new.dialect_options["sqlite"]["autoincrement"] = True
            counter = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,))
            kept.counter = counter.scalar()
        self.rebuilt[batch_impl.temp_table_name] = kept

    def drop_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        """Drop the search index, whose triggers may use the column, and the column."""
        self.drop_search_index(table_name)
        super().drop_column(table_name, column, **options)

    def drop_table(self, table: Table, **options: Any) -> None:
        """Drop a table and its search index, which SQLite would keep."""
        self.drop_search_index(table.name)
        super().drop_table(table, **options)

    def drop_search_index(self, table: str) -> None:
        """Drop the search index of a table, if it has one. Does nothing in offline mode (`--sql`)."""
        if not self.as_sql:
            assert self.connection is not None
            drop_fts5(self.connection, table)

    def rename_table(self, old_table_name: str, new_table_name: str, schema: str | None = None) -> None:
        """Rename a table. At the end of a rebuild, also restore its counter, indexes and triggers.

        `legacy_alter_table` lets views and triggers of other tables refer to the table while it does not exist.
        """
        kept, connection = self.rebuilt.pop(old_table_name, None), self.connection
        if kept is None or connection is None:
            self.drop_search_index(old_table_name)
            super().rename_table(old_table_name, new_table_name, schema)
            return
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        super().rename_table(old_table_name, new_table_name, schema)
        connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
        if kept.counter is not None:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (new_table_name,))
            counter = (new_table_name, kept.counter)
            connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", counter)
        for sql in kept.statements:
            connection.exec_driver_sql(sql)
        for index in kept.indexes:
            self.create_index(index)

    def correct_for_autogen_constraints(self, *_: Any) -> None:
        """Do nothing. Alembic's method would ignore indexes on expressions, because its dialect cannot read them."""

    def compare_indexes(self, metadata_index: Index, reflected_index: Index) -> ComparisonResult:
        """Compare two indexes by their CREATE INDEX, so that expressions and conditions are included."""
        assert self.connection is not None
        assert reflected_index.table is not None
        made = stored(self.connection, "index", reflected_index.table.name)[str(reflected_index.name)]
        declared = str(CreateIndex(metadata_index).compile(dialect=self.dialect))
        if plain(made) == plain(declared):
            return ComparisonResult.Equal()
        return ComparisonResult.Different([f"{plain(made)} to {plain(declared)}"])


def keep_collations(connection: Connection, old: str, new: Table) -> None:
    """Copy the collations of the table `old` to the text columns of `new` that have none."""
    for name, collation in collations(table_sql(connection, old)):
        column: Any = new.columns.get(name)
        if column is not None and isinstance(column.type, String) and column.type.collation is None:
            column.type = column.type.copy()
            column.type.collation = collation
