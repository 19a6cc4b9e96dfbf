"""Renames: `user.full_name:name` renames a column in the next migration, `user:account` a table.

The models do not show whether a field was renamed, or whether it was dropped and another one added, so the developer
names the renames. They are executed before autogenerate compares the database with the models, which then finds only
the other differences, and are rolled back after it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

FORM = re.compile(r"(\w+)(?:\.(\w+))?:(\w+)")


@dataclass(frozen=True)
class Rename:
    """A rename of a table (`column` is None) or of one of its columns to `new`."""

    table: str
    column: str | None
    new: str

    def __str__(self) -> str:
        return f"{self.table}:{self.new}" if self.column is None else f"{self.table}.{self.column}:{self.new}"

    def operation(self) -> ops.MigrateOperation:
        if self.column is None:
            return ops.RenameTableOp(self.table, self.new)
        return ops.ModifyTableOps(self.table, [ops.AlterColumnOp(self.table, self.column, modify_name=self.new)])

    def reverse(self) -> "Rename":
        if self.column is None:
            return Rename(self.new, None, self.table)
        return Rename(self.table, self.new, self.column)

    def refusal(self, columns: Mapping[str, Collection[str]]) -> str | None:
        """Return an error message if the database has no such table or column. `columns` are those of each table."""
        if self.table not in columns:
            return f"there is no table {self.table}: the tables are {', '.join(sorted(columns))}"
        if self.column is None:
            return f"there is a table {self.new} already" if self.new in columns else None
        names = columns[self.table]
        if self.column not in names:
            return f"{self.table} has no column {self.column}: its columns are {', '.join(sorted(names))}"
        return f"{self.table} has a column {self.new} already" if self.new in names else None

    def apply(self, op: Operations) -> None:
        if self.column is None:
            op.rename_table(self.table, self.new)
        else:
            op.alter_column(self.table, self.column, new_column_name=self.new)


def renames_of(given: str) -> list[Rename]:
    """Parse renames such as `user.full_name:name invoice:bill`. Raises a CommandError for another form."""
    found = [(part, FORM.fullmatch(part)) for part in given.replace(",", " ").split()]
    if wrong := [part for part, match in found if match is None]:
        raise CommandError(
            f"RENAME is {wrong[0]!r}. Write it as user.full_name:name (a column) or user:account (a table)."
        )
    return [Rename(match[1], match[2], match[3]) for _, match in found if match]


@contextmanager
def with_renames(context: MigrationContext, renames: Collection[Rename]) -> Iterator[None]:
    """Execute the renames, and roll back to the state before them after the block. Without renames it does nothing.

    Raises a CommandError for a rename of what does not exist, or to a name that is taken.
    """
    if not renames:
        yield
        return
    assert context.connection is not None
    with context.connection.begin_nested() as savepoint:
        for rename in renames:
            if reason := rename.refusal(columns_of(context.connection)):
                raise CommandError(f"RENAME={rename} is impossible: {reason}.")
            rename.apply(Operations(context))
        yield
        savepoint.rollback()


def columns_of(connection: Connection) -> dict[str, list[str]]:
    """Return the names of the columns by table."""
    inspector = inspect(connection)
    return {name: [column["name"] for column in inspector.get_columns(name)] for name in inspector.get_table_names()}


@renderers.dispatch_for(ops.RenameTableOp)
def render_rename(_: AutogenContext, op: ops.RenameTableOp) -> str:
    return f"op.rename_table({str(op.table_name)!r}, {str(op.new_table_name)!r})"
