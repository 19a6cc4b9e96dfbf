"""Conversion operations: `alter_column` with a conversion of the values, after a count of those that have none."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _alter_column
from alembic.operations import ops

from kit.database.conversions import Conversion, conversion
from kit.database.sqlite_reflection import escaped
from kit.database.storage_kinds import kind_of

INDENT = " " * 11
"""The indentation of Alembic's arguments."""


class ConvertOp(ops.AlterColumnOp):
    """Alters the type of a column, and converts its values."""

    def __init__(self, op: ops.AlterColumnOp, found: Conversion) -> None:
        given = {name: value for name, value in vars(op).items() if name != "kw"}
        super().__init__(**given, **op.kw)
        self.conversion = found


@dataclass
class RefusalOp(ops.MigrateOperation):
    """Stops the migration if rows of a table have values that cannot be converted."""

    table: str
    column: str
    conversion: Conversion

    def to_diff_tuple(self) -> tuple[str, str, str]:
        return ("refuse", self.table, self.column)

    @property
    def query(self) -> dict[str, str]:
        count = f'SELECT count(*) FROM "{self.table}" WHERE '  # noqa: S608  names of our own
        found = self.conversion
        return {"sqlite": count + found.wrong_on_sqlite, "postgresql": count + found.wrong_on_postgresql}

    @property
    def sentence(self) -> str:
        what = f"{self.table}.{self.column} has values in {{rows}} of its rows"
        how = "write the conversion as `sqlite_using` and `postgresql_using` of alter_column"
        if self.conversion.is_known:
            return f"{what} that its new type cannot hold: change them, or {how}."
        return f"{what} that become another type: {how} in place of NULL, and remove this check."


def with_conversions(op: ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Yield the checks of the columns whose type an operation changes, and the operation with the conversions."""
    if isinstance(op, ops.ModifyTableOps):
        op.ops[:] = [converting(part) for part in op.ops]
        for part in op.ops:
            if isinstance(part, ConvertOp) and part.conversion.wrong_on_sqlite:
                yield RefusalOp(part.table_name, part.column_name, part.conversion)
    yield op


def converting(op: Any) -> Any:
    """Return the operation that converts the values too, if it changes the kind of a column."""
    if not isinstance(op, ops.AlterColumnOp) or op.modify_type is None or op.existing_type is None:
        return op
    found = conversion(op.column_name, kind_of(op.existing_type), kind_of(op.modify_type))
    return op if found is None else ConvertOp(op, found)


@renderers.dispatch_for(ConvertOp)
def render_conversion(context: AutogenContext, op: ConvertOp) -> str:
    using = {"sqlite_using": op.conversion.sqlite, "postgresql_using": op.conversion.postgresql}
    options = "".join(f",\n{INDENT}{name}={literal(sql)}" for name, sql in using.items())
    return _alter_column(context, op).removesuffix(")") + options + ")"


@renderers.dispatch_for(RefusalOp)
def render_refusal(context: AutogenContext, op: RefusalOp) -> list[str]:
    context.imports.add("from alembic.util import CommandError")
    queries = ", ".join(f"{dialect!r}: {literal(escaped(sql))}" for dialect, sql in op.query.items())
    return [
        f"counts = {{{queries}}}",
        "rows = op.get_bind().scalar(sa.text(counts[op.get_bind().dialect.name]))",
        "if rows:",
        f"raise CommandError{literal(op.sentence, 'f')}",  # it has several lines, and so parentheses
        "",
    ]


def literal(text: str, prefix: str = "") -> str:
    """Return a text as Python source, in lines that are short enough for a migration."""
    first, *rest = map(repr, textwrap.wrap(text, 80, drop_whitespace=False))
    source = "\n".join([prefix + first, *rest])
    return f"({source})" if rest else source
