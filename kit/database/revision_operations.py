"""Migration operations that Alembic lacks, and their source: comments, UPDATEs, SQL statements, and AUTOINCREMENT."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations import ops
from sqlalchemy import CheckConstraint, ClauseElement, Dialect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import conv
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeDecorator, TypeEngine

from kit.database.sqlite_reflection import escaped
from kit.database.storage_kinds import DIALECTS
from kit.models.server_defaults import PerDatabase
from kit.models.sqlite_forms import is_encoded


@dataclass
class CommentOp(ops.MigrateOperation):
    """A comment line in a migration."""

    line: str

    def reverse(self) -> "CommentOp":
        return self

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return the operation as `alembic check` lists it."""
        return ("comment", self.line)


class RemarkOp(CommentOp):
    """A comment about a difference that the migration does not change. A statement follows it, for valid Python."""


@dataclass
class FillOp(ops.MigrateOperation):
    """An UPDATE that replaces NULL in a column by a value."""

    table: str
    column: str
    type: TypeEngine[Any]
    value: Any

    def to_diff_tuple(self) -> tuple[str, str, str]:
        return ("fill", self.table, self.column)


@dataclass
class AutoincrementOp(ops.MigrateOperation):
    """Rebuilds a table of SQLite with AUTOINCREMENT, so that no id is assigned twice; without it if `is_undone`."""

    table: str
    is_undone: bool = False

    def reverse(self) -> "AutoincrementOp":
        return AutoincrementOp(self.table, not self.is_undone)

    def to_diff_tuple(self) -> tuple[str, str]:
        return ("autoincrement", self.table)


class StatementsOp(ops.MigrateOperation):
    """SQL statements for one database, rendered as `op.execute`, with the statements that undo them."""

    def __init__(self, dialect: str, up: list[str], down: list[str]) -> None:
        self.dialect, self.up, self.down = dialect, up, down

    def reverse(self) -> "StatementsOp":
        return StatementsOp(self.dialect, self.down, self.up)

    def to_diff_tuple(self) -> tuple[str, list[str]]:
        return ("execute", self.up)


class Conditions(NamedTuple):
    """The text of a condition on SQLite, and on PostgreSQL."""

    sqlite: str
    postgresql: str

    @property
    def source(self) -> str:
        """The Python source of the condition in a migration."""
        sqlite, other = (escaped(part) for part in self)
        return f'{{"sqlite": {sqlite!r}}}.get(op.get_bind().dialect.name, {other!r})'


class CheckOp(ops.CreateCheckConstraintOp):
    """Creates a CHECK whose condition each database writes in its own way."""

    def __init__(self, name: Any, table: str, conditions: Conditions) -> None:
        super().__init__(name, table, text(escaped(conditions.postgresql)))
        self.conditions = conditions


def conditions_of(condition: ClauseElement) -> Conditions | None:
    """Return the texts of a condition, such as one about decimals; None if both databases write it in the same way."""
    if not any(isinstance(part, PerDatabase) or is_encoded(part) for part in iterate(condition)):
        return None
    options = {"include_table": False, "literal_binds": True}
    texts = (str(condition.compile(dialect=dialect, compile_kwargs=options)) for dialect in UNESCAPED)
    conditions = Conditions(*texts)
    return None if conditions.sqlite == conditions.postgresql else conditions


def check_op(name: str, table: str, condition: Any) -> ops.CreateCheckConstraintOp:
    """Return the operation that creates a CHECK with a condition that may differ between the databases."""
    conditions = conditions_of(condition)
    if conditions is None:
        return ops.CreateCheckConstraintOp(conv(name), table, condition)
    return CheckOp(conv(name), table, conditions)


@renderers.dispatch_for(CommentOp)
def render_comment(_: AutogenContext, op: CommentOp) -> str:
    return f"# {op.line}"


@renderers.dispatch_for(RemarkOp)
def render_remark(_: AutogenContext, op: RemarkOp) -> list[str]:
    return [f"# {op.line}", "pass"]


@renderers.dispatch_for(FillOp)
def render_fill(context: AutogenContext, op: FillOp) -> list[str]:
    kind, value = _repr_type(op.type, context), stored_literal(context, op.type, op.value)
    return [
        f"rows = sa.table({op.table!r}, sa.column({op.column!r}, {kind}))",
        f"op.execute(rows.update().where(rows.c[{op.column!r}].is_(None)).values({{{op.column!r}: {value}}}))",
    ]


@renderers.dispatch_for(AutoincrementOp)
def render_autoincrement(_: AutogenContext, op: AutoincrementOp) -> list[str]:
    options = f'recreate="always", table_kwargs={{"sqlite_autoincrement": {not op.is_undone}}}'
    batch = f"with op.batch_alter_table({op.table!r}, {options}):"
    return ['if op.get_bind().dialect.name == "sqlite":', batch, "pass", "", ""]


@renderers.dispatch_for(StatementsOp)
def render_statements(_: AutogenContext, op: StatementsOp) -> list[str]:
    statements = [f"op.execute({escaped(sql)!r})" for sql in op.up] or ["pass"]
    return [f'if op.get_bind().dialect.name == "{op.dialect}":', *statements, ""]


@renderers.dispatch_for(CheckOp)
def render_check_op(context: AutogenContext, op: CheckOp) -> str:
    plain = ops.CreateCheckConstraintOp(op.constraint_name, op.table_name, op.condition)
    source: str = renderers.dispatch(plain)(context, plain)
    return source.replace(repr(escaped(op.conditions.postgresql)), op.conditions.source)


def render_check(constraint: CheckConstraint) -> str | Literal[False]:
    """Return the source of a CHECK of a new table; False if both write it in the same way: Alembic renders it."""
    conditions = conditions_of(constraint.sqltext)
    return conditions is not None and f"sa.CheckConstraint({conditions.source}, name=op.f({str(constraint.name)!r}))"


def stored_literal(context: AutogenContext, kind: TypeEngine[Any], value: Any) -> str:
    """Return the value of a column as Python source, in the form that each database stores.

    Migrations do not use the kit's column types, which would convert it.
    """
    if not isinstance(kind, TypeDecorator) or not type(kind).__module__.startswith("kit."):
        return literal(context, value)
    known, other = (literal(context, kind.process_bind_param(value, dialect)) for dialect in DIALECTS)
    return known if known == other else f'{{"sqlite": {known}}}.get(op.get_bind().dialect.name, {other})'


UNESCAPED: Sequence[Dialect] = (sqlite.dialect(), postgresql.dialect(paramstyle="named"))  # type: ignore[no-untyped-call]
"""The dialects, without `%%` for a per cent sign."""


def literal(context: AutogenContext, value: Any) -> str:
    """Return a value as Python source, and add the imports that it needs to the migration.

    Now and today become the time at which the migration runs.
    """
    if isinstance(value, datetime):
        context.imports.add("from datetime import UTC, datetime")
        return "datetime.now(UTC)" if abs(value - datetime.now(UTC)) < timedelta(days=1) else utc_literal(value)
    if isinstance(value, date) and value == datetime.now(UTC).date():
        context.imports.add("from datetime import UTC, datetime")
        return "datetime.now(UTC).date()"
    kind = type(value)
    if kind in IMPORTED:
        context.imports.add(f"from {kind.__module__} import {kind.__name__}")
        return repr(value).removeprefix("datetime.")
    return repr(value)


IMPORTED = (Decimal, date, time, timedelta, UUID)


def utc_literal(moment: datetime) -> str:
    return f"datetime.fromisoformat({moment.isoformat()!r})"
