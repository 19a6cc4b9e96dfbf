"""INSERT and UPDATE on SQLite: the values that expressions store in columns are those that PostgreSQL stores."""

from copy import copy
from typing import Any

from sqlalchemy import Insert, Integer, Select, String, Update, select
from sqlalchemy.dialects.sqlite.dml import OnConflictDoUpdate
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BindParameter, ColumnClause, ColumnElement
from sqlalchemy.types import NullType

from kit.models.columns import DecimalColumn, DurationColumn
from kit.models.integer_assignments import stored_integer
from kit.models.sqlite_forms import (
    ENCODED,
    PLAIN,
    Converted,
    as_duration,
    as_text,
    bare,
    converted,
    form_of,
    is_encoded,
    is_stored,
    type_of,
)


def assigned(column: Any, value: Any) -> Any:
    """Return an expression in the form that a column stores, rounded to its places; other values unchanged."""
    kind = type_of(column)
    if not isinstance(value, ColumnElement):
        return value
    if not (is_encoded(value) or isinstance(kind, ENCODED)):
        return stored_integer(kind, value)
    if isinstance(value, BindParameter) and (isinstance(value.type, NullType) or type(value.type) is type(kind)):
        return value
    if isinstance(kind, DurationColumn):
        return Converted(as_duration(value, kind), kind)
    if isinstance(kind, DecimalColumn):
        is_column = isinstance(bare(value), ColumnClause) and is_stored(type_of(value))
        return value if is_column and form_of(value.type) == kind.form else converted(value, kind, "stored")
    if isinstance(kind, Integer) and is_encoded(value):
        return Converted(value, DecimalColumn(18, 0, is_fixed=True), "stored")
    return as_text(value) if isinstance(kind, String) else converted(value, PLAIN)


def assignments(table: Any, values: Any) -> dict[Any, Any]:
    """Return the values of a statement, by column, in the forms that the columns store."""
    return {
        key: assigned(table.c.get(key if isinstance(key, str) else key.key), value)
        for key, value in dict(values).items()
    }


def by_column(table: Any, row: Any) -> Any:
    """Return the values of a row by column; they may be in the order of the columns."""
    return row if isinstance(row, dict) else zip(table.c.keys(), row, strict=False)


def with_values(statement: Any) -> Any:
    """Return an INSERT or UPDATE whose expressions have the forms of their columns."""
    values = statement._values or {}  # no public attribute has the values of a statement
    stored = assignments(statement.table, values)
    if all(stored[key] is value for key, value in values.items()):
        return statement
    changed = copy(statement)
    changed._values = stored
    return changed


@compiles(Update, "sqlite")
def compile_update(element: Update, compiler: Any, **kw: Any) -> Any:
    return compiler.visit_update(with_values(element), **kw)


@compiles(Insert, "sqlite")
def compile_insert(element: Insert, compiler: Any, **kw: Any) -> Any:
    changed = with_values(element)
    clause = getattr(element, "_post_values_clause", None)
    if element._multi_values or element.select is not None or isinstance(clause, OnConflictDoUpdate):
        changed = copy(changed)
    if element._multi_values:
        changed._multi_values = tuple(
            [assignments(element.table, by_column(element.table, row)) for row in rows]
            for rows in element._multi_values
        )
    if element.select is not None:
        changed.select = selected(element)
    if isinstance(clause, OnConflictDoUpdate):
        changed._post_values_clause = copy(clause)
        changed._post_values_clause.update_values_to_set = assignments(element.table, clause.update_values_to_set)
    return compiler.visit_insert(changed, **kw)


def selected(statement: Any) -> Any:
    """Return the SELECT of an INSERT, with its columns in the forms of those of the table."""
    targets = [statement.table.c.get(name) for name in statement._select_names]
    columns = list(statement.select.selected_columns)
    stored = [assigned(target, column) for target, column in zip(targets, columns, strict=False)]
    if all(new is old for new, old in zip(stored, columns, strict=False)):
        return statement.select
    source = statement.select
    if isinstance(source, Select):  # its columns may have no names
        named = [column.label(f"kit_{number}") for number, column in enumerate(columns)]
        source = source.with_only_columns(*named, maintain_column_froms=True)
    inner = source.subquery().c  # the subquery of an integer takes no aggregates
    return select(*(assigned(target, column) for target, column in zip(targets, inner, strict=False)))
