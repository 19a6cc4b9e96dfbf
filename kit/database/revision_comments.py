"""Comments in migrations: how many rows lose data, how many make a step fail, and which columns may be renamed."""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    SmallInteger,
    String,
    func,
    select,
    table,
    text,
)
from sqlalchemy import column as plain_column
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from kit.database.revision_operations import CommentOp
from kit.database.sqlite_reflection import escaped


def hints(op: ops.ModifyTableOps) -> Iterator[str]:
    """Yield the command that writes a rename, for each pair of a dropped and an added column of the same type."""
    for part in op.ops:
        if isinstance(part, ops.AddColumnOp):
            for name, command in renames_to(op, part.column):
                yield f"If {name} is called {part.column.name} now, remove this file, and run: {command}"


def renames_to(op: ops.ModifyTableOps, new: Column[Any]) -> Iterator[tuple[str, str]]:
    """Yield each dropped column of the same type as a new one, as `table.column`, and the command for a rename."""
    for part in op.ops:
        dropped = part.to_column() if isinstance(part, ops.DropColumnOp) else None
        if dropped is not None and dropped.name != new.name and same_kind(dropped.type, new.type):
            name = f"{op.table_name}.{dropped.name}"
            yield name, f"make migration RENAME={name}:{new.name}"


def same_kind(first: TypeEngine[Any], other: TypeEngine[Any]) -> bool:
    """Return whether two column types have the same Python type."""
    kinds = [python_type_of(getattr(type_, "impl_instance", type_)) for type_ in (first, other)]
    return kinds[0] is kinds[1]


def python_type_of(type_: TypeEngine[Any]) -> type:
    """Return the Python type of a column type; the class of the column type if it names none, as INET."""
    named = type_.python_type
    return type(type_) if named is object else named


def losses(connection: Connection, name: str, op: ops.MigrateOperation) -> Iterator[CommentOp]:
    """Yield a comment with the number of rows of the table `name` that lose data, or on which the operation fails."""
    if isinstance(op, ops.DropColumnOp):
        yield from lost_column(connection, name, op)
    elif isinstance(op, ops.AlterColumnOp) and op.modify_type is not None:
        yield from narrowing(connection, name, op)
    elif isinstance(op, ops.AlterColumnOp) and op.modify_nullable is False:
        number = counted(connection, name, plain_column(op.column_name).is_(None))
        if number != NONE:
            yield CommentOp(f"{name}.{op.column_name} is NULL in {number}, which must get a value first.")
    elif isinstance(op, ops.CreateCheckConstraintOp):
        number = counted(connection, name, text(f"NOT ({escaped(sql_of(connection, op.condition))})"))
        if number not in (NONE, UNKNOWN):
            yield CommentOp(f"{op.constraint_name} is violated by {number}, which must get other values first.")


def lost_column(connection: Connection, name: str, op: ops.DropColumnOp) -> Iterator[CommentOp]:
    """Yield a comment with the number of values in a dropped column, unless the database computes them."""
    if op.to_column().computed is None:
        number = counted(connection, name, plain_column(op.column_name).is_not(None))
        yield CommentOp(f"Loses {name}.{op.column_name} of {number}.")


def sql_of(connection: Connection, condition: Any) -> str:
    return str(condition.compile(connection, compile_kwargs={"literal_binds": True}))


def narrowing(connection: Connection, name: str, op: ops.AlterColumnOp) -> Iterator[CommentOp]:
    """Yield a comment with the number of rows whose value may not fit into the new type of a column."""
    column: ColumnElement[Any] = plain_column(op.column_name)
    old, new = op.existing_type, op.modify_type
    length, former = getattr(new, "length", None), getattr(old, "length", None)
    if isinstance(new, String) and isinstance(old, String):
        if length is not None and (former is None or former > length):
            number = counted(connection, name, func.length(column) > length)
            yield CommentOp(f"{name}.{op.column_name} is longer than {length} characters in {number}.")
    elif not isinstance(new, Integer) or not isinstance(old, Integer):
        number = counted(connection, name, column.is_not(None))
        yield CommentOp(f"Changes the type of {name}.{op.column_name} in {number}.")
    elif bits(new) < bits(old):
        number = counted(connection, name, func.abs(column) >= 2 ** (bits(new) - 1))
        yield CommentOp(f"{name}.{op.column_name} does not fit into {bits(new)} bits in {number}.")


def bits(type_: Integer) -> int:
    return 16 if isinstance(type_, SmallInteger) else 64 if isinstance(type_, BigInteger) else 32


NONE, UNKNOWN = "0 rows", "an unknown number of rows"


def counted(connection: Connection, name: str, condition: Any = None) -> str:
    """Return the number of rows of the table `name` as text: `1 row`, `5 rows` or `an unknown number of rows`."""
    statement = select(func.count()).select_from(table(name))
    try:
        with connection.begin_nested():
            number = connection.scalar(statement if condition is None else statement.where(condition))
    except DBAPIError:  # the condition may name a column that does not exist yet
        return UNKNOWN
    return "1 row" if number == 1 else f"{number} rows"
