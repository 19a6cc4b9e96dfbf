"""Revisions: what a migration that autogenerate wrote needs for tables with rows.

- A new column that is NOT NULL is added without it, filled with the field's default, and made NOT NULL then.
- An operation that loses something says in a comment how many rows it is about.
- A column that goes while one of its type comes may have been renamed: a comment says how to write that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.util import CommandError
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    String,
    func,
    select,
    table,
    text,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy import column as plain_column
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import TextClause, conv
from sqlalchemy.types import TypeEngine

from kit.database.definitions import Definitions
from kit.database.renames import Rename
from kit.database.sqlite_rebuild import escaped, expression_index
from kit.models.types import MoneyColumn


@dataclass
class CommentOp(ops.MigrateOperation):
    """A line of comment in a migration."""

    line: str

    def to_diff_tuple(self) -> tuple[str, str]:
        """For `alembic check`, which lists all operations."""
        return ("comment", self.line)


@dataclass
class FillOp(ops.MigrateOperation):
    """An UPDATE that gives a column a value in all rows that have none."""

    table: str
    column: str
    type: TypeEngine[Any]
    value: Any

    def to_diff_tuple(self) -> tuple[str, str, str]:
        return ("fill", self.table, self.column)


@dataclass
class EnumOp(ops.MigrateOperation):
    """The type of an enum, which PostgreSQL has beside the tables: it is created before a column of it, if need be."""

    type: EnumType
    is_created: bool

    def to_diff_tuple(self) -> tuple[str, str]:
        return ("enum", str(self.type.name))


@renderers.dispatch_for(EnumOp)
def render_enum(context: AutogenContext, op: EnumOp) -> str:
    action = "create" if op.is_created else "drop"
    return f"{_repr_type(op.type, context)}.{action}(op.get_bind(), checkfirst=True)"


@renderers.dispatch_for(CommentOp)
def render_comment(_: AutogenContext, op: CommentOp) -> str:
    return f"# {op.line}"


@renderers.dispatch_for(FillOp)
def render_fill(context: AutogenContext, op: FillOp) -> list[str]:
    value = literal(context, op.value)
    if isinstance(op.type, MoneyColumn):  # on SQLite its values are cents
        context.imports.add("from kit.models.types import MoneyColumn")
        kind = "MoneyColumn()"
    else:
        kind = _repr_type(op.type, context)
    return [
        f"rows = sa.table({op.table!r}, sa.column({op.column!r}, {kind}))",
        f"op.execute(rows.update().where(rows.c[{op.column!r}].is_(None)).values({{{op.column!r}: {value}}}))",
    ]


def literal(context: AutogenContext, value: Any) -> str:
    if isinstance(value, Decimal):
        context.imports.add("from decimal import Decimal")
    if isinstance(value, datetime):
        context.imports.add("from datetime import UTC, datetime")
        return "datetime.now(UTC)"
    if isinstance(value, date):
        context.imports.add("from datetime import date")
        return "date.today()"
    return repr(value)


def complete(
    context: MigrationContext,
    directives: list[ops.MigrationScript],
    metadata: MetaData,
    renames: Iterable[Rename] = (),
    former: Definitions | None = None,
) -> None:
    """For `process_revision_directives` of Alembic's environment.

    `former` are the definitions before the migration, in the words of the migrations instead of PostgreSQL's.
    """
    connection, (script,) = context.connection, directives
    up, down = script.upgrade_ops, script.downgrade_ops
    assert connection is not None
    assert up is not None
    assert down is not None
    enums = list(new_enums(up))
    up.ops[:] = [new for old in up.ops for new in completed(connection, metadata, old)]
    for op in down.ops:
        make_portable(op, former or Definitions())
    down.ops[:] = [new for old in down.ops for new in loosened(old)]
    up.ops[:0] = [EnumOp(enum, is_created=True) for enum in enums]
    down.ops += [EnumOp(enum, is_created=False) for enum in enums if is_of_one_column(enum, metadata)]
    for rename in renames:
        up.ops.insert(0, rename.operation())
        down.ops.append(rename.reverse().operation())


def new_enums(up: ops.UpgradeOps) -> Iterator[EnumType]:
    """The enums of columns that are added to a table; a new table creates its own."""
    parts = [part for op in up.ops if isinstance(op, ops.ModifyTableOps) for part in op.ops]
    for part in parts:
        if (
            isinstance(part, ops.AddColumnOp)
            and isinstance(part.column.type, EnumType)
            and part.column.type.native_enum
        ):
            yield part.column.type


def is_of_one_column(enum: EnumType, metadata: MetaData) -> bool:
    types = [column.type for model in metadata.tables.values() for column in model.columns]
    return [getattr(type_, "name", None) for type_ in types].count(enum.name) == 1


def completed(connection: Connection, metadata: MetaData, op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """An operation of the upgrade, with what it needs before and after."""
    if isinstance(op, ops.DropTableOp):
        yield CommentOp(f"Loses the table {op.table_name}, with {counted(connection, op.table_name)}.")
    if not isinstance(op, ops.ModifyTableOps):
        yield op
        return
    yield from (CommentOp(line) for line in hints(op))
    fills = list(loosen(op, metadata))
    op.ops[:] = [part for old in op.ops for part in (*losses(connection, op.table_name, old), old)]
    yield op
    yield from fills
    if fills:
        yield ops.ModifyTableOps(op.table_name, [tightening(fill) for fill in fills])


def loosen(op: ops.ModifyTableOps, metadata: MetaData) -> Iterator[FillOp]:
    """Let the columns be NULL that become NOT NULL: the UPDATEs to come fill them."""
    for part in op.ops:
        if isinstance(part, ops.AddColumnOp) and needs_value(part.column):
            new = part.column
            value = default_of(new)
            if value is None:
                raise CommandError(ASK.format(f"{op.table_name}.{new.name}"))
            part.column = Column(new.name, new.type, nullable=True, comment=new.comment)
            yield FillOp(op.table_name, new.name, new.type, value)
        elif isinstance(part, ops.AlterColumnOp) and part.modify_nullable is False:
            column = metadata.tables[op.table_name].c[part.column_name]
            value = default_of(column)
            if value is not None:
                part.modify_nullable = None
                yield FillOp(op.table_name, part.column_name, column.type, value)
    op.ops[:] = [part for part in op.ops if not isinstance(part, ops.AlterColumnOp) or part.has_changes()]


def tightening(fill: FillOp) -> ops.AlterColumnOp:
    return ops.AlterColumnOp(fill.table, fill.column, modify_nullable=False, existing_type=fill.type)


ASK = (
    "{} is NOT NULL, and nothing says which value the rows have that are there. Give the field a default, as in "
    '`Field(default=0)`, or the column one, as in `Field(sa_column_kwargs={{"server_default": "0"}})`, or allow None.'
)


def needs_value(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None and column.identity is None and column.computed is None


def default_of(column: Column[Any]) -> Any:
    """The field's default, as `FillOp` wants it; None if there is none, or if each row needs another one."""
    default: Any = column.default
    if default is None or not (default.is_scalar or default.is_callable):
        return None
    value = default.arg(None) if default.is_callable else default.arg
    if isinstance(value, Enum):
        return value.name if isinstance(column.type, EnumType) else value.value
    same_for_all = (date, list, dict) if default.is_callable else (bool, int, float, str, Decimal, date, list, dict)
    return value if isinstance(value, same_for_all) else None


def loosened(op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """An operation of the downgrade. A column that comes back is empty, so it cannot be NOT NULL."""
    for part in op.ops if isinstance(op, ops.ModifyTableOps) else ():
        if isinstance(part, ops.AddColumnOp) and needs_value(part.column):
            old = part.column
            part.column = Column(old.name, old.type, nullable=True, comment=old.comment)
            yield CommentOp(f"The values of {part.table_name}.{old.name} are lost, so it is NULL in all rows.")
    yield op


def make_portable(op: ops.MigrateOperation, former: Definitions) -> None:
    """Let an operation that restores what was read from one database do so on the other too."""
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
    """Give an index its condition on both databases, and its expressions in the words of this statement, if any."""
    where = op.kw.get("sqlite_where", op.kw.get("postgresql_where"))
    if sql is not None:
        index = expression_index(str(op.index_name), sql)
        where = index["dialect_options"].get("sqlite_where")
        if any(isinstance(part, TextClause) for part in op.columns):
            op.columns = [text(expression) for expression in index["expressions"]]
    if where is not None:
        where = text(where) if isinstance(where, str) else where
        op.kw |= {"sqlite_where": where, "postgresql_where": where}


def portable_check(table_name: str, item: Any, former: Definitions) -> Any:
    condition = former.checks.get((table_name, str(item.name))) if isinstance(item, CheckConstraint) else None
    return item if condition is None else CheckConstraint(text(escaped(condition)), name=conv(str(item.name)))


def hints(op: ops.ModifyTableOps) -> Iterator[str]:
    """How to say that a column was renamed, if it may have been."""
    added = [part.column for part in op.ops if isinstance(part, ops.AddColumnOp)]
    for part in op.ops:
        dropped = part.to_column() if isinstance(part, ops.DropColumnOp) else None
        for new in added:
            if dropped is not None and same_kind(dropped.type, new.type):
                name, command = f"{op.table_name}.{dropped.name}", f"RENAME={op.table_name}.{dropped.name}:{new.name}"
                yield f"If {name} is called {new.name} now, remove this file, and run: make migration {command}"


def same_kind(one: TypeEngine[Any], other: TypeEngine[Any]) -> bool:
    """Whether a column of one type may have become one of the other; its length may differ."""
    return kind_of(one) is kind_of(other)


def kind_of(type_: TypeEngine[Any]) -> type:
    try:
        kind: type = getattr(type_, "impl_instance", type_).python_type
    except NotImplementedError:
        return type(type_)
    return kind


def losses(connection: Connection, name: str, op: ops.MigrateOperation) -> Iterator[CommentOp]:
    """What an operation on a table loses, or which rows stand in its way."""
    if isinstance(op, ops.DropColumnOp):
        number = counted(connection, name, plain_column(op.column_name).is_not(None))
        yield CommentOp(f"Loses {name}.{op.column_name} of {number}.")
    elif isinstance(op, ops.AlterColumnOp) and op.modify_type is not None:
        yield from narrowing(connection, name, op)
    elif isinstance(op, ops.AlterColumnOp) and op.modify_nullable is False:
        number = counted(connection, name, plain_column(op.column_name).is_(None))
        yield CommentOp(f"{name}.{op.column_name} is NULL in {number}, which need a value before.")
    elif isinstance(op, ops.CreateCheckConstraintOp):
        number = counted(connection, name, text(f"NOT ({escaped(sql_of(connection, op.condition))})"))
        if number not in (NONE, UNKNOWN):
            yield CommentOp(f"{op.constraint_name} does not hold for {number}, which need other values before.")


def sql_of(connection: Connection, condition: Any) -> str:
    if isinstance(condition, str):
        return condition
    return str(condition.compile(connection, compile_kwargs={"literal_binds": True}))


def narrowing(connection: Connection, name: str, op: ops.AlterColumnOp) -> Iterator[CommentOp]:
    column: ColumnElement[Any] = plain_column(op.column_name)
    old, new = op.existing_type, op.modify_type
    length, former = getattr(new, "length", None), getattr(old, "length", None)
    if isinstance(new, String) and isinstance(old, String):
        if length is not None and (former is None or former > length):
            number = counted(connection, name, func.length(column) > length)
            yield CommentOp(f"{name}.{op.column_name} is too long in {number} for {length} letters.")
    elif not isinstance(new, type(old)) or not isinstance(old, Integer):
        number = counted(connection, name, column.is_not(None))
        yield CommentOp(f"Changes the type of {name}.{op.column_name} in {number}.")


NONE, UNKNOWN = "0 rows", "an unknown number of rows"


def counted(connection: Connection, name: str, condition: Any = None) -> str:
    """How many rows there are at this moment, in this database."""
    statement = select(func.count()).select_from(table(name))
    try:
        with connection.begin_nested():
            number = connection.scalar(statement if condition is None else statement.where(condition))
    except DBAPIError:  # the condition may be on a column that is not there yet
        return UNKNOWN
    return "1 row" if number == 1 else f"{number} rows"
