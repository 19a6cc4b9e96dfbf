"""Versions of rows: each UPDATE statement and upsert raises the `version` of the rows that it changes, as a flush does.

A flush sets the next version itself, and so may a statement.
"""

from collections.abc import Iterator
from copy import copy
from typing import Any

from sqlalchemy import ColumnDefault, Table, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

HAS_VERSION = "kit_has_version"
"""The key in `Table.info` of tables whose columns `version` and `updated_at` every statement sets."""
SET_BY_STATEMENTS = ("version", "updated_at")


def raise_by_statements(table: Table) -> None:
    """Let each UPDATE statement of the table raise `version` by one, unless it sets it."""
    table.c.version.onupdate = ColumnDefault(table.c.version + literal_column("1"), for_update=True)
    table.info[HAS_VERSION] = True


@compiles(postgresql.dml.OnConflictDoUpdate)
@compiles(sqlite.dml.OnConflictDoUpdate)
def _raise_by_upsert(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    """Compile ON CONFLICT DO UPDATE with the values of `onupdate`, which SQLAlchemy leaves out there."""
    table: Any = compiler.current_executable.table
    if HAS_VERSION in table.info:
        given, element = element.update_values_to_set, copy(element)
        element.update_values_to_set = {**given, **dict(_missing(table, given))}
    return compiler.visit_on_conflict_do_update(element, **options)  # type: ignore[attr-defined, no-any-return]


def _missing(table: Table, given: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the values of the columns that an upsert does not set. The version of the new row does not count."""
    for name in SET_BY_STATEMENTS:
        column: Any = table.c[name]
        key = column if column in given else name
        if key not in given or (name == "version" and is_excluded(given[key])):
            yield key, column.onupdate.arg


def is_excluded(value: Any) -> bool:
    """Return whether a value in an upsert is a column of the row that was not inserted, as in `set_=new.excluded`."""
    return getattr(getattr(value, "table", None), "name", None) == "excluded"
