"""Revisions: completes a migration from autogenerate, so that it can be applied to tables with rows.

- A new NOT NULL column is added as nullable, filled with the default of the field, and then made NOT NULL.
- The values of a column of another type are converted (`conversion_operations.py`).
- A comment at an operation that loses data says how many rows are affected.
- If a column is dropped and another of its type is added, a comment says how to write a rename.
"""

from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy import Column, Connection, MetaData
from sqlalchemy import Enum as EnumType
from sqlalchemy.types import TypeDecorator

from kit.database.conversion_operations import with_conversions
from kit.database.portability import Before
from kit.database.renames import Rename
from kit.database.revision_comments import counted, hints, losses, renames_to
from kit.database.revision_operations import CommentOp, FillOp


def complete(
    context: MigrationContext,
    directives: list[ops.MigrationScript],
    metadata: MetaData,
    renames: Iterable[Rename] = (),
    before: Before | None = None,
) -> None:
    """Complete a migration in place. Called by the hook `process_revision_directives` of Alembic's environment.

    `before` is the state before the migration, as `new_migration.former` returns it; None if it is not known.
    """
    connection, (script,) = context.connection, directives
    up, down = script.upgrade_ops, script.downgrade_ops
    assert connection is not None
    assert up is not None
    assert down is not None
    up.ops[:] = [new for old in up.ops for new in completed(connection, metadata, old)]
    down.ops[:] = [(before or Before()).restore(connection, op) for op in down.ops]
    down.ops[:] = [new for old in down.ops for new in nullable_downgrade(old)]
    for rename in renames:
        up.ops.insert(0, rename.operation())
        down.ops.append(rename.reverse().operation())


def completed(connection: Connection, metadata: MetaData, op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Yield an operation of the upgrade, with the operations that it needs before and after it."""
    if isinstance(op, ops.DropTableOp):
        yield CommentOp(f"Loses the table {op.table_name}, with {counted(connection, op.table_name)}.")
    if not isinstance(op, ops.ModifyTableOps):
        yield op
        return
    yield from (CommentOp(line) for line in hints(op))
    fills = list(add_as_nullable(op, metadata))
    op.ops[:] = [part for old in op.ops for part in (*losses(connection, op.table_name, old), old)]
    yield from with_conversions(op)
    yield from fills
    if fills:
        yield ops.ModifyTableOps(op.table_name, [set_not_null(fill) for fill in fills])


def add_as_nullable(op: ops.ModifyTableOps, metadata: MetaData) -> Iterator[FillOp]:
    """Change the operations for new NOT NULL columns to nullable ones, and yield the UPDATEs that fill the columns.

    Raises a CommandError if a new column has no default.
    """
    for part in op.ops:
        if isinstance(part, ops.AddColumnOp) and needs_value(part.column):
            new = part.column
            value = default_of(new)
            if value is None:
                renames = [RENAMED.format(name, new.name, command) for name, command in renames_to(op, new)]
                raise CommandError(" ".join([NO_DEFAULT.format(f"{op.table_name}.{new.name}"), *renames]))
            part.column = Column(new.name, new.type, nullable=True, comment=new.comment)
            yield FillOp(op.table_name, new.name, new.type, value)
        elif isinstance(part, ops.AlterColumnOp) and part.modify_nullable is False:
            column = metadata.tables[op.table_name].c[part.column_name]
            value = default_of(column)
            if value is not None:
                part.modify_nullable = None
                yield FillOp(op.table_name, part.column_name, column.type, value)
    op.ops[:] = [part for part in op.ops if not isinstance(part, ops.AlterColumnOp) or part.has_changes()]


def set_not_null(fill: FillOp) -> ops.AlterColumnOp:
    return ops.AlterColumnOp(fill.table, fill.column, modify_nullable=False, existing_type=fill.type)


NO_DEFAULT = (
    "{} is NOT NULL, but has no default for the existing rows. Give the field a default, as in `Field(default=0)`, "
    'or the column, as in `Field(sa_column_kwargs={{"server_default": "0"}})`, or allow None.'
)
RENAMED = "If {} is called {} now, run: {}"


def needs_value(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None and column.identity is None and column.computed is None


def default_of(column: Column[Any]) -> Any:
    """Return the default of a field for existing rows; None if it has none, or one that differs between rows."""
    default: Any = column.default
    if default is None or not (default.is_scalar or default.is_callable):
        return None
    value = default.arg(None) if default.is_callable else default.arg
    if isinstance(value, Enum):
        return value.name if isinstance(column.type, EnumType) else value.value
    is_of_kit = isinstance(column.type, TypeDecorator) and type(column.type).__module__.startswith("kit.")
    constant = isinstance(value, CONSTANTS) or (is_of_kit and value is not None)
    return value if isinstance(value, OF_FACTORIES) or (constant and not default.is_callable) else None


CONSTANTS = (bool, int, float, str, bytes, Decimal, time, timedelta, UUID)
OF_FACTORIES = (date, list, dict)
"""The types of values from a default factory that may fill all rows, such as a date or an empty list."""


def nullable_downgrade(op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Yield an operation of the downgrade, with a comment. A NOT NULL column that it restores is made nullable."""
    for part in op.ops if isinstance(op, ops.ModifyTableOps) else ():
        if isinstance(part, ops.AddColumnOp) and needs_value(part.column):
            old = part.column
            part.column = Column(old.name, old.type, nullable=True, comment=old.comment)
            yield CommentOp(f"The values of {part.table_name}.{old.name} are lost: it is NULL in all rows.")
    yield from with_conversions(op)
