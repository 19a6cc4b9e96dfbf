"""Renames: `user.full_name:name` renames a column in the next migration, `user:account` a table.

The models do not show whether a field was renamed, or whether it was dropped and another one added, so the developer
names the renames. They are executed before autogenerate compares the database with the models, which then finds only
the other differences, and are rolled back after it.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from alembic.util import CommandError

FORM = re.compile(r"(\w+)(?:\.(\w+))?:(\w+)")


@dataclass(frozen=True)
class Rename:
    """A rename of a table (`column` is None) or of one of its columns to `new`."""

    table: str
    column: str | None
    new: str

    def operation(self) -> ops.MigrateOperation:
        if self.column is None:
            return ops.RenameTableOp(self.table, self.new)
        return ops.ModifyTableOps(self.table, [ops.AlterColumnOp(self.table, self.column, modify_name=self.new)])

    def reverse(self) -> "Rename":
        if self.column is None:
            return Rename(self.new, None, self.table)
        return Rename(self.table, self.new, self.column)

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
    """Execute the renames, and roll back to the state before them after the block. Without renames it does nothing."""
    if not renames:
        yield
        return
    assert context.connection is not None
    with context.connection.begin_nested() as savepoint:
        for rename in renames:
            rename.apply(Operations(context))
        yield
        savepoint.rollback()


@renderers.dispatch_for(ops.RenameTableOp)
def render_rename(_: AutogenContext, op: ops.RenameTableOp) -> str:
    return f"op.rename_table({str(op.table_name)!r}, {str(op.new_table_name)!r})"
