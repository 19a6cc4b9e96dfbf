"""Grouped reads: completes GROUP BY in statements whose tables are replaced by subqueries of the principal's rows.

In `SELECT item.*, count(*) … GROUP BY item.id`, PostgreSQL derives the columns of a table from its primary key, but not
those of a subquery (`restricted_reads`). Therefore they are added to GROUP BY, which changes no group. Columns of the
type JSON, which PostgreSQL cannot compare, are not. SQLite does without all of this.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from sqlalchemy import JSON, Column, Select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

from kit.auth.restricted_reads import OWN_ROWS


@compiles(Select, "postgresql")
def render_select(statement: Select[Any], compiler: SQLCompiler, **options: Any) -> str:
    if compiler.execution_options.get(OWN_ROWS):
        statement = statement.group_by(*derived_columns(statement))
    return str(compiler.visit_select(statement, **options))  # type: ignore[no-untyped-call]


def derived_columns(statement: Select[Any]) -> list[Column[Any]]:
    """Return the columns of a statement that PostgreSQL would derive from the primary keys in its GROUP BY."""
    tables = {part.table for part in columns_in(groups_of(statement)) if part.primary_key}
    if not tables:
        return []
    used = columns_in([*statement.selected_columns, statement])
    return list(dict.fromkeys(part for part in used if part.table in tables and is_comparable(part)))


def is_comparable(column: Column[Any]) -> bool:
    kind = getattr(column.type, "impl", column.type)
    return not isinstance(kind, JSON) or isinstance(kind, JSONB)


def groups_of(statement: Select[Any]) -> list[Any]:
    """Return the elements of the GROUP BY of a statement: those that it has once less when GROUP BY is removed."""
    parts = {id(part): part for part in statement.get_children()}
    lost = Counter(map(id, statement.get_children())) - Counter(map(id, statement.group_by(None).get_children()))
    return [parts[key] for key in lost]


def columns_in(parts: list[Any]) -> Iterator[Any]:
    """Yield the columns of tables, and of aliases of tables, in these elements."""
    for part in parts:
        yield from (inner for inner in visitors.iterate(part) if isinstance(inner, Column))
