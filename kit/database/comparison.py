"""Comparison: an Alembic plugin that finds differences between database and models which autogenerate does not find.

Alembic finds added and removed tables, columns, constraints and indexes. This plugin finds CHECKs, changed types that
one database stores in the same way, changed conditions and expressions of indexes, lost AUTOINCREMENT, and triggers and
functions. Models declare the latter by listeners: `event.listen(Invoice.__table__, "after_create", DDL("CREATE TRIGGER
…"))`. A trigger in the database that no model declares is ignored: a migration may have created it.
"""

from typing import Any, NamedTuple

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Dialect, Index, Table, text
from sqlalchemy.sql.elements import TextClause, conv
from sqlalchemy.types import SchemaType

from kit.database.declared_comments import ATTRIBUTE as COMMENTS
from kit.database.declared_comments import alter_comments
from kit.database.declared_types import declared_in, without_check
from kit.database.default_comparison import alter_defaults, lengthened_moments
from kit.database.definitions import Definitions, Named, is_changed, model_definitions, stored_definitions
from kit.database.revision_operations import AutoincrementOp, StatementsOp, check_op, conditions_of
from kit.database.search_indexes import names_of_parts
from kit.database.sqlite_reflection import escaped, has_autoincrement
from kit.database.storage_kinds import is_other, kind_of

NAME = "kit.comparison"
PLUGINS = ("alembic.autogenerate.*", NAME)
"""The value of `autogenerate_plugins` in Alembic's environment."""
DONE = PriorityDispatchResult.CONTINUE


class Compared(NamedTuple):
    """The definitions that the database has stored, and those that the models declare."""

    stored: Definitions
    declared: Definitions


def definitions(context: AutogenContext) -> Compared:
    """Return the definitions in the database and those of the models, cached for the duration of a comparison."""
    connection, metadata = context.connection, context.metadata
    assert connection is not None
    cache: dict[Any, Any] = context.inspector.info_cache
    if NAME not in cache:
        stored = stored_definitions(connection)
        cache[NAME] = Compared(stored, model_definitions(connection, metadata, stored))  # type: ignore[arg-type]  # we have one
    compared: Compared = cache[NAME]
    return compared


def of_table(named: Named, table: str) -> dict[str, str]:
    return {name: sql for (owner, name), sql in named.items() if owner == table}


def compare_checks(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Append operations for CHECKs that were added, removed or changed, to `found`.

    Old CHECKs are dropped first, because they may not allow the changes of the columns.
    """
    if table is None or model is None:
        return DONE
    compared = definitions(context)
    stored, declared = of_table(compared.stored.checks, name), of_table(compared.declared.checks, name)
    changed = [check for check in sorted(stored | declared) if is_changed(stored.get(check), declared.get(check))]
    for check in changed:
        if check in stored:
            old = CheckConstraint(text(escaped(stored[check])), name=conv(check), table=table)
            found.ops.insert(0, ops.DropConstraintOp.from_constraint(old))
    retyped = {op.column_name for op in found.ops if isinstance(op, ops.AlterColumnOp) and is_schema_type(op)}
    for constraint in sorted(named_checks(model), key=lambda check: str(check.name)):
        if constraint.name in changed and not retyped.intersection(column.name for column in constraint.columns):
            found.ops.append(create_constraint_op(constraint, name, context.dialect))
    return DONE


def compare_types(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Append operations for columns whose declared type changed, also if the type in this database is the same.

    The former type of an operation is the declared one, which is valid on both databases.
    """
    if table is None or model is None:
        return DONE
    declared = declared_in(context.migration_context)
    altered = {op.column_name: op for op in found.ops if isinstance(op, ops.AlterColumnOp)}
    for column in model.columns:
        former, op = declared.get((name, column.name)), altered.get(column.name)
        if former is None or column.name not in table.columns:
            continue
        if op is None and is_other(kind_of(former), kind_of(column.type)):
            op = ops.AlterColumnOp(name, column.name, existing_nullable=table.columns[column.name].nullable)
            found.ops.append(op)
        if op is not None:
            op.existing_type = without_check(former)
            op.modify_type = column.type if is_other(kind_of(former), kind_of(column.type)) else op.modify_type
    return DONE


def compare_defaults(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Append operations for columns with another default."""
    if table is not None and model is not None:
        alter_defaults(context, found, table, model, *definitions(context))
    return DONE


def compare_comments(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Append operations for comments on SQLite, if those of the migrations are known. Alembic does it on PostgreSQL."""
    config = context.migration_context.config
    stored = None if config is None else config.attributes.get(COMMENTS)
    if table is not None and model is not None and stored is not None and context.dialect.name == "sqlite":
        alter_comments(found, table, model, stored)
    return DONE


def create_constraint_op(
    constraint: CheckConstraint, table: str, dialect: Dialect | None
) -> ops.CreateCheckConstraintOp:
    """Return the operation that creates a constraint, with its condition as text.

    With a condition of `Column` objects, SQLAlchemy would add the constraint to the table of the model once more.
    """
    options = {"include_table": False, "literal_binds": True}
    condition = constraint.sqltext
    if not isinstance(condition, TextClause) and conditions_of(condition) is None:
        condition = text(escaped(str(condition.compile(dialect=dialect, compile_kwargs=options))))
    return check_op(str(constraint.name), table, condition)


def is_schema_type(op: ops.AlterColumnOp) -> bool:
    """Return whether a column gets a type that creates its own CHECK, such as `Enum`."""
    return isinstance(op.modify_type, SchemaType)


def named_checks(model: Table) -> list[CheckConstraint]:
    return [constraint for constraint in model.constraints if isinstance(constraint, CheckConstraint)]


def compare_indexes(
    context: AutogenContext, found: ops.ModifyTableOps, _: Any, name: str, table: Table | None, model: Table | None
) -> PriorityDispatchResult:
    """Append operations that replace indexes whose definition differs under the same name, unless Alembic did it."""
    if table is None or model is None:
        return DONE
    compared = definitions(context)
    stored, declared = of_table(compared.stored.indexes, name), of_table(compared.declared.indexes, name)
    old, new = by_name(table), by_name(model)
    seen = {op.index_name for op in found.ops if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp))}
    for index in sorted((stored.keys() & declared.keys() & old.keys() & new.keys()) - seen):
        if is_changed(stored[index], declared[index]):
            found.ops.append(ops.DropIndexOp.from_index(old[index]))
            found.ops.append(ops.CreateIndexOp.from_index(new[index]))
    return DONE


def by_name(table: Table) -> dict[str, Index]:
    return {str(index.name): index for index in table.indexes}


def compare_autoincrement(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Append operations for tables of SQLite that lack AUTOINCREMENT. An earlier rebuild may have lost it."""
    connection = context.connection
    assert connection is not None
    if connection.dialect.name == "sqlite":
        stored = set(context.inspector.get_table_names())
        declared = {model.name for model in context.sorted_tables if model.dialect_options["sqlite"]["autoincrement"]}
        lost = [name for name in sorted(stored & declared) if not has_autoincrement(connection, name)]
        found.ops += map(AutoincrementOp, lost)
    return DONE


def compare_code(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Append operations for functions and triggers that differ from the models."""
    stored, declared = definitions(context)
    dialect = context.dialect.name
    for name, sql in declared.functions.items():
        old = stored.functions.get(name)
        if old != sql:
            found.ops.append(StatementsOp(dialect, [sql], [old or f"DROP FUNCTION {name}"]))
    for (table, name), sql in declared.triggers.items():
        old = stored.triggers.get((table, name))
        if old != sql:
            drop = f'DROP TRIGGER "{name}"' + ("" if dialect == "sqlite" else f' ON "{table}"')
            found.ops.append(StatementsOp(dialect, [drop, sql] if old else [sql], [drop, old] if old else [drop]))
    return DONE


def compare_moments(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Append the UPDATEs of times that a former default of SQLite has stored in another form."""
    found.ops += lengthened_moments(*definitions(context))
    return DONE


def ignore_search(context: AutogenContext, found: ops.UpgradeOps, _: Any) -> PriorityDispatchResult:
    """Remove the operations that drop search indexes: `ensure_search` maintains these after every upgrade."""
    assert context.connection is not None
    parts = names_of_parts(context.connection)
    found.ops[:] = [op for op in found.ops if not (isinstance(op, ops.DropTableOp) and op.table_name in parts)]
    for op in found.ops:
        if isinstance(op, ops.ModifyTableOps):
            op.ops[:] = [
                part for part in op.ops if not (isinstance(part, ops.DropIndexOp) and part.index_name in parts)
            ]
    found.ops[:] = [op for op in found.ops if not isinstance(op, ops.ModifyTableOps) or op.ops]
    return DONE


def setup(plugin: Plugin) -> None:
    last = DispatchPriority.LAST
    plugin.add_autogenerate_comparator(compare_types, "table", "kit.types", priority=last)
    plugin.add_autogenerate_comparator(compare_defaults, "table", "kit.defaults", priority=last)
    plugin.add_autogenerate_comparator(compare_comments, "table", "kit.comments", priority=last)
    plugin.add_autogenerate_comparator(compare_checks, "table", "kit.checks", priority=last)
    plugin.add_autogenerate_comparator(compare_indexes, "table", "kit.indexes", priority=last)
    plugin.add_autogenerate_comparator(compare_moments, "schema", "kit.moments", priority=last)
    plugin.add_autogenerate_comparator(compare_code, "schema", "kit.code", priority=last)
    plugin.add_autogenerate_comparator(ignore_search, "schema", "kit.search", priority=last)
    plugin.add_autogenerate_comparator(compare_autoincrement, "schema", "kit.autoincrement", priority=last)


setup(Plugin(NAME))
