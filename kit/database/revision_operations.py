"""Operations of migrations beyond those of Alembic: comments, UPDATEs of new columns, and the types of enums."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.operations import ops
from sqlalchemy import Enum as EnumType
from sqlalchemy.types import TypeEngine

from kit.models.types import MoneyColumn


@dataclass
class CommentOp(ops.MigrateOperation):
    """A comment line in a migration."""

    line: str

    def to_diff_tuple(self) -> tuple[str, str]:
        """The operation as `alembic check` lists it."""
        return ("comment", self.line)


@dataclass
class FillOp(ops.MigrateOperation):
    """An UPDATE that replaces NULL by a value in a column."""

    table: str
    column: str
    type: TypeEngine[Any]
    value: Any

    def to_diff_tuple(self) -> tuple[str, str, str]:
        return ("fill", self.table, self.column)


@dataclass
class EnumOp(ops.MigrateOperation):
    """CREATE TYPE or DROP TYPE of an enum. PostgreSQL stores the type apart from the tables that use it."""

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
    if isinstance(op.type, MoneyColumn):  # it converts amounts to cents on SQLite
        context.imports.add("from kit.models.types import MoneyColumn")
        kind = "MoneyColumn()"
    else:
        kind = _repr_type(op.type, context)
    return [
        f"rows = sa.table({op.table!r}, sa.column({op.column!r}, {kind}))",
        f"op.execute(rows.update().where(rows.c[{op.column!r}].is_(None)).values({{{op.column!r}: {value}}}))",
    ]


def literal(context: AutogenContext, value: Any) -> str:
    """A value as Python source. The imports that it needs are added to the migration."""
    if isinstance(value, Decimal):
        context.imports.add("from decimal import Decimal")
    if isinstance(value, datetime):
        context.imports.add("from datetime import UTC, datetime")
        return "datetime.now(UTC)"
    if isinstance(value, date):
        context.imports.add("from datetime import date")
        return "date.today()"
    return repr(value)
