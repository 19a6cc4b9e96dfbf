"""An Alembic plugin: finds differences between the database and the models that autogenerate does not find.

Alembic finds added and removed tables, columns, constraints and indexes. This adds CHECKs, changed conditions and
expressions of indexes, and the triggers and functions that `create_all` would create, for which the models have
listeners: `event.listen(Invoice.__table__, "after_create", DDL("CREATE TRIGGER …"))`. A trigger that no model knows is
ignored: a migration may have created it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Dialect, Index, Table, text
from sqlalchemy.sql.elements import TextClause, conv
from sqlalchemy.types import SchemaType

from kit.database.definitions import Definitions, Named, model_definitions, stored_definitions
from kit.database.search_indexes import names_of_parts
from kit.database.sqlite_reflection import escaped, is_numbered

NAME = "kit.comparison"
PLUGINS = ("alembic.autogenerate.*", NAME)
"""The value of `autogenerate_plugins` in Alembic's environment."""
DONE = PriorityDispatchResult.CONTINUE


class Pair(NamedTuple):
    stored_definitions: Definitions
    model_definitions: Definitions


def definitions(context: AutogenContext) -> Pair:
    """Return the definitions in the database and those of the models, read once for each comparison."""
    connection, metadata = context.connection, context.metadata
    assert connection is not None
    cache: dict[Any, Any] = context.inspector.info_cache
    if NAME not in cache:
        cache[NAME] = Pair(stored_definitions(connection), model_definitions(connection, metadata))  # type: ignore[arg-type]  # we have one
    pair: Pair = cache[NAME]
    return pair


def of_table(named: Named, table: str) -> dict[str, str]:
    return {name: sql for (owner, name), sql in named.items() if owner == table}


def compare_checks(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Find CHECKs that were added, removed or changed. Old ones are dropped before the columns change."""
    if table is None or model is None:
        return DONE
    pair = definitions(context)
    there, here = of_table(pair.stored_definitions.checks, name), of_table(pair.model_definitions.checks, name)
    changed = [check for check in sorted(there | here) if there.get(check) != here.get(check)]
    for check in changed:
        if check in there:  # before the columns change, which it may not allow
            old = CheckConstraint(text(escaped(there[check])), name=conv(check), table=table)
            found.ops.insert(0, ops.DropConstraintOp.from_constraint(old))
    retyped = {op.column_name for op in found.ops if isinstance(op, ops.AlterColumnOp) and is_schema_type(op)}
    for constraint in sorted(named_checks(model), key=lambda check: str(check.name)):
        if constraint.name in changed and not retyped.intersection(column.name for column in constraint.columns):
            found.ops.append(create_constraint_op(constraint, name, context.dialect))
    return DONE


def create_constraint_op(
    constraint: CheckConstraint, table: str, dialect: Dialect | None
) -> ops.CreateCheckConstraintOp:
    """Return the operation that creates a constraint, with its condition as text.

    A condition of columns would be added to the table of the model again.
    """
    options = {"include_table": False, "literal_binds": True}
    condition = constraint.sqltext
    if not isinstance(condition, TextClause):
        condition = text(escaped(str(condition.compile(dialect=dialect, compile_kwargs=options))))
    return ops.CreateCheckConstraintOp(conv(str(constraint.name)), table, condition)


def is_schema_type(op: ops.AlterColumnOp) -> bool:
    """Return whether the column becomes one of a type that brings its own CHECK, such as `Enum`."""
    return isinstance(op.modify_type, SchemaType)


def named_checks(model: Table) -> list[CheckConstraint]:
    return [constraint for constraint in model.constraints if isinstance(constraint, CheckConstraint)]


def compare_indexes(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Find indexes of the same name with different definitions that Alembic has not found."""
    if table is None or model is None:
        return DONE
    pair = definitions(context)
    there, here = of_table(pair.stored_definitions.indexes, name), of_table(pair.model_definitions.indexes, name)
    old, new = by_name(table), by_name(model)
    seen = {op.index_name for op in found.ops if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp))}
    for index in sorted((there.keys() & here.keys() & old.keys() & new.keys()) - seen):
        if there[index] != here[index]:
            found.ops.append(ops.DropIndexOp.from_index(old[index]))
            found.ops.append(ops.CreateIndexOp.from_index(new[index]))
    return DONE


def by_name(table: Table) -> dict[str, Index]:
    return {str(index.name): index for index in table.indexes}


@dataclass
class NumberOp(ops.MigrateOperation):
    """Rebuilds a table of SQLite with AUTOINCREMENT, so that no id is assigned twice."""

    table: str
    is_undone: bool = False

    def reverse(self) -> "NumberOp":
        return NumberOp(self.table, not self.is_undone)

    def to_diff_tuple(self) -> tuple[str, str]:
        return ("autoincrement", self.table)


@renderers.dispatch_for(NumberOp)
def render_number(_: AutogenContext, op: NumberOp) -> list[str]:
    options = f'recreate="always", table_kwargs={{"sqlite_autoincrement": {not op.is_undone}}}'
    batch = f"with op.batch_alter_table({op.table!r}, {options}):"
    return ['if op.get_bind().dialect.name == "sqlite":', batch, "pass", "", ""]


def compare_numbering(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Find tables of SQLite without AUTOINCREMENT, which a table may have lost when it was rebuilt."""
    connection = context.connection
    assert connection is not None
    if connection.dialect.name == "sqlite":
        there = set(context.inspector.get_table_names())
        wanted_so = [model for model in context.sorted_tables if model.dialect_options["sqlite"]["autoincrement"]]
        names = [model.name for model in wanted_so if model.name in there]
        found.ops += [NumberOp(name) for name in names if not is_numbered(connection, name)]
    return DONE


class StatementsOp(ops.MigrateOperation):
    """SQL statements for one database, rendered as `op.execute`, with the statements that undo them."""

    def __init__(self, dialect: str, up: list[str], down: list[str]) -> None:
        self.dialect, self.up, self.down = dialect, up, down

    def reverse(self) -> "StatementsOp":
        return StatementsOp(self.dialect, self.down, self.up)

    def to_diff_tuple(self) -> tuple[str, list[str]]:
        return ("execute", self.up)


@renderers.dispatch_for(StatementsOp)
def render_statements(_: AutogenContext, op: StatementsOp) -> list[str]:
    statements = [f"op.execute({escaped(sql)!r})" for sql in op.up]
    return [f'if op.get_bind().dialect.name == "{op.dialect}":', *statements, ""]


def compare_code(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Find functions and triggers that differ from the models."""
    there, here = definitions(context)
    dialect = context.dialect.name
    for name, sql in here.functions.items():
        old = there.functions.get(name)
        if old != sql:
            found.ops.append(StatementsOp(dialect, [sql], [old or f"DROP FUNCTION {name}"]))
    for (table, name), sql in here.triggers.items():
        old = there.triggers.get((table, name))
        if old != sql:
            drop = f'DROP TRIGGER "{name}"' + ("" if dialect == "sqlite" else f' ON "{table}"')
            found.ops.append(StatementsOp(dialect, [drop, sql] if old else [sql], [drop, old] if old else [drop]))
    return DONE


def ignore_search(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Leave search indexes alone, which follow from the models after every upgrade."""
    assert context.connection is not None
    parts = names_of_parts(context.connection)
    found.ops[:] = [op for op in found.ops if not (isinstance(op, ops.DropTableOp) and op.table_name in parts)]
    for op in found.ops:
        if isinstance(op, ops.ModifyTableOps):
            op.ops[:] = [one for one in op.ops if not (isinstance(one, ops.DropIndexOp) and one.index_name in parts)]
    found.ops[:] = [op for op in found.ops if not isinstance(op, ops.ModifyTableOps) or op.ops]
    return DONE


def setup(plugin: Plugin) -> None:
    last = DispatchPriority.LAST
    plugin.add_autogenerate_comparator(compare_checks, "table", "kit.checks", priority=last)
    plugin.add_autogenerate_comparator(compare_indexes, "table", "kit.indexes", priority=last)
    plugin.add_autogenerate_comparator(compare_code, "schema", "kit.code", priority=last)
    plugin.add_autogenerate_comparator(ignore_search, "schema", "kit.search", priority=last)
    plugin.add_autogenerate_comparator(compare_numbering, "schema", "kit.numbering", priority=last)


setup(Plugin(NAME))
