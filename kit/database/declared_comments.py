"""Declared comments: the comments on tables and columns that the migrations name, for both databases.

SQLite stores no comments. Therefore those of all migrations are recorded when they run on SQLite, and compared with the
models, so that a migration that is written there has the same comments as one that is written on PostgreSQL.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations import ops
from sqlalchemy import Column, Connection, Table

Comments = dict[tuple[str, str], str | None]
"""Comments by table and column. That of the table has "" for the column."""
ATTRIBUTE = "kit.declared_comments"
"""The key in the attributes of Alembic's configuration, and in `Connection.info`."""


def recorded_comments(connection: Connection | None) -> Comments:
    """Return the comments that the migrations on this connection have declared up to now."""
    info: dict[Any, Any] = getattr(connection, "info", {})  # a script (`--sql`) has no connection with it
    comments: Comments = info.setdefault(ATTRIBUTE, {})
    return comments


class RecordedComments(SQLiteImpl):
    """Alembic's operations on SQLite, which record comments."""

    def comment(self, table: str, column: str, comment: str | None) -> None:
        recorded_comments(self.connection)[table, column] = comment

    def create_table(self, table: Table, **options: Any) -> None:
        """Create a table, and record its comments."""
        self.comment(table.name, "", table.comment)
        for column in table.columns:
            self.comment(table.name, column.name, column.comment)
        super().create_table(table, **options)

    def add_column(self, table_name: str, column: Column[Any], **options: Any) -> None:
        """Add a column, and record its comment."""
        self.comment(table_name, column.name, column.comment)
        super().add_column(table_name, column, **options)

    def alter_column(self, table_name: str, column_name: str, **options: Any) -> None:
        """Alter a column; if that renames it, rename its recorded comment too."""
        comments, name = recorded_comments(self.connection), options.get("name") or column_name
        comments[table_name, name] = comments.pop((table_name, column_name), None)
        super().alter_column(table_name, column_name, **options)

    def rename_table(self, old_table_name: str, new_table_name: str, schema: str | None = None) -> None:
        """Rename a table, and its recorded comments, unless it is the end of a rebuild."""
        comments = recorded_comments(self.connection)
        for table, column in [key for key in comments if key[0] == old_table_name]:
            comment = comments.pop((table, column))
            comments.setdefault((new_table_name, column), comment)
        super().rename_table(old_table_name, new_table_name, schema)

    def without_comments(self, table: str, batch: list[Any]) -> Iterator[Any]:
        """Record the comments in a batch, and yield its operations, without those on the comment of the table."""
        for name, args, options in batch:
            if name in ("create_table_comment", "drop_table_comment"):
                self.comment(table, "", args[0].comment if name == "create_table_comment" else None)
                continue
            if name == "add_column":
                self.comment(table, args[1].name, args[1].comment)
            elif name == "alter_column" and options.get("comment", False) is not False:
                self.comment(table, options.get("name") or args[1], options["comment"])
            yield name, args, options


def alter_comments(found: ops.ModifyTableOps, table: Table, model: Table, stored: Mapping[Any, str | None]) -> None:
    """Append operations for changed comments of a table to `found`. `stored` are those of the migrations."""
    altered = {op.column_name: op for op in found.ops if isinstance(op, ops.AlterColumnOp)}
    for column in model.columns:
        old, new = stored.get((model.name, column.name)), column.comment or None
        if column.name in table.columns and old != new:
            op = altered.get(column.name) or ops.AlterColumnOp(
                model.name,
                column.name,
                existing_type=column.type,
                existing_nullable=table.columns[column.name].nullable,
            )
            op.modify_comment, op.existing_comment = new, old
            found.ops += [] if column.name in altered else [op]
    old, new = stored.get((model.name, "")), model.comment or None
    if new is None and old is not None:
        found.ops.append(ops.DropTableCommentOp(model.name, existing_comment=old))
    elif old != new:
        found.ops.append(ops.CreateTableCommentOp(model.name, new, existing_comment=old))
