"""Declared types: the column types that the migrations name, for both databases.

SQLite stores a decimal as a scaled integer, so its schema does not show the scale. Therefore the operations of all
migrations are recorded when they run on SQLite, and the last type of each column is its declared type.
"""

from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from alembic.migration import MigrationContext
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import Boolean, Column, Connection, Enum, String, Table
from sqlalchemy.types import TypeEngine

Types = dict[tuple[str, str], TypeEngine[Any]]
"""Column types by table and column."""
ATTRIBUTE = "kit.declared_types"
"""The key in the attributes of Alembic's configuration, and in `Connection.info`."""


def recorded(connection: Connection | None) -> Types:
    """Return the types that the migrations on this connection have declared up to now."""
    info: dict[Any, Any] = getattr(connection, "info", {})  # a script (`--sql`) has no connection with it
    types: Types = info.setdefault(ATTRIBUTE, {})
    return types


def declared_in(context: MigrationContext) -> Types:
    """Return the declared types before a comparison: those of all migrations, and those that ran on its connection."""
    config = context.config
    return {**({} if config is None else config.attributes.get(ATTRIBUTE, {})), **recorded(context.connection)}


def without_check(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a former type without the CHECK that it creates.

    The migration drops or creates that by its name, and Alembic would do it once more.
    """
    if isinstance(kind, Enum):
        return String(kind.length)
    return Boolean() if isinstance(kind, Boolean) else kind


class RecordedTypes(SQLiteImpl):
    """Alembic's operations on SQLite, which record the types of columns."""

    def create_table(self, table: Table, **options: Any) -> None:
        """Create a table, and record the types of its columns."""
        self.record(table.name, table)
        super().create_table(table, **options)

    def add_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        """Add a column, and record its type."""
        recorded(self.connection)[table_name, column.name] = column.type
        super().add_column(table_name, column, **options)

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Record the types that a rebuild of a table changes or adds."""
        assert batch_impl.new_table is not None
        self.record(table.name, batch_impl.new_table, table)

    def record(self, name: str, new: Table, old: Table | None = None) -> None:
        """Record the types of the columns of `new`, except those that are as in `old`, which was reflected."""
        for column in new.columns:
            former = None if old is None else old.columns.get(column.name)
            if former is None or repr(former.type) != repr(column.type):
                recorded(self.connection)[name, column.name] = column.type

    def rename_table(self, old_table_name: str, new_table_name: str, schema: str | None = None) -> None:
        """Rename a table, and the recorded types of its columns, unless it is the end of a rebuild."""
        types = recorded(self.connection)
        moved = {(new_table_name, key[1]): types.pop(key) for key in list(types) if key[0] == old_table_name}
        types.update({} if old_table_name.startswith("_alembic_tmp_") else moved)
        super().rename_table(old_table_name, new_table_name, schema)

    def alter_column(self, table_name: str, column_name: str, **options: Any) -> None:
        """Alter a column; if that renames it, rename its recorded type too."""
        types = recorded(self.connection)
        if options.get("name") is not None and (table_name, column_name) in types:
            types[table_name, options["name"]] = types.pop((table_name, column_name))
        super().alter_column(table_name, column_name, **options)
