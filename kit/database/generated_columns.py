"""Generated columns: a changed expression is migrated by dropping the column, and adding it with the new expression.

The database computes the values anew, so nothing is lost.
"""

import re
from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Constraint, Index, Table

from kit.database.definitions import Definitions
from kit.database.revision_operations import RemarkOp


def recreate(
    found: ops.ModifyTableOps, table: Table, model: Table, name: str, stored: Definitions
) -> Iterator[ops.MigrateOperation]:
    """Yield the operations that give the column `name` another expression, with the indexes on it.

    A remark says what to do if the column is generated in one state only, or if more than unchanged indexes needs it.
    """
    old, new = table.columns[name], model.columns[name]
    parts = [index for index in by_name(table) if names(name, stored.indexes.get((table.name, str(index.name)), ""))]
    if old.computed is None or new.computed is None or is_entangled(found, model, parts, name):
        yield RemarkOp(f"Not migrated: the expression of {table.name}.{name}. Drop the column, and add it again.")
        return
    yield from (ops.DropIndexOp.from_index(index) for index in parts)
    yield ops.DropColumnOp.from_column_and_tablename(None, table.name, old)
    yield ops.AddColumnOp.from_column_and_tablename(None, table.name, new)
    kept = {index.name for index in parts}
    yield from (ops.CreateIndexOp.from_index(index) for index in by_name(model) if index.name in kept)


def by_name(table: Table) -> list[Index]:
    """Return the indexes of a table. Alembic may have reflected the same index twice."""
    return list({str(index.name): index for index in sorted(table.indexes, key=lambda index: str(index.name))}.values())


def is_entangled(found: ops.ModifyTableOps, model: Table, parts: list[Index], name: str) -> bool:
    """Return whether a constraint names a column, or an index on it changes too: dropping the column drops these."""
    changed = [op.index_name for op in found.ops if isinstance(op, ops.CreateIndexOp | ops.DropIndexOp)]
    return any(index.name in changed for index in parts) or any(is_about(part, name) for part in model.constraints)


def is_about(constraint: Constraint, name: str) -> bool:
    """Return whether a constraint of a model names a column."""
    if isinstance(constraint, CheckConstraint):
        return names(name, str(constraint.sqltext))
    return name in getattr(constraint, "columns", ())


def names(name: str, sql: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", sql) is not None
