"""Rules for tables with decimals and durations, which SQLite stores in forms of their own.

A condition that is a text means plain numbers, and SQLite would compare them with units of the last place. So it is
refused, unless it is right in each form: a comparison with 0, with NULL, or with a column of the same form. A condition
that is an expression is compiled for each database.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import CheckConstraint, Column, Table, inspect
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from kit.models import sqlite_expressions  # noqa: F401  registers the rules that compile expressions
from kit.models.columns import DecimalColumn
from kit.models.sqlite_forms import ENCODED, form_of, has_duration

Encoded = Mapping[str, Column[Any]]
"""The columns of a table, by name, whose values have another form on SQLite than on PostgreSQL."""


def apply_decimal_rules(entity: Any, table: Table) -> None:
    """Give the CHECKs of a table their columns. Raises a TypeError for a text or index that SQLite would get wrong."""
    encoded = {column.name: column for column in table.columns if isinstance(column.type, ENCODED)}
    for check in [part for part in table.constraints if isinstance(part, CheckConstraint)] if encoded else ():
        if isinstance(check.sqltext, TextClause):
            name = refused_name(str(check.sqltext), encoded)
            if name is not None:
                raise TypeError(
                    f"{entity.__name__} has a CHECK with the text {str(check.sqltext)!r}, but SQLite stores {name} in "
                    f'units of its last place: write an expression, such as `CheckConstraint(column("{name}") < 100)` '
                    "with `column` of sqlalchemy."
                )
        else:
            check.sqltext = with_columns(check.sqltext, encoded)
    for where, expression in other_expressions(table):
        name = refused_name(str(expression), encoded)
        if name is not None:
            raise TypeError(
                f"{entity.__name__} has {where} with the expression {str(expression)!r}, but SQLite stores {name} in "
                "units of its last place: compare it with 0 or NULL alone, or leave it out; a `hybrid_property` or "
                "`column_property` calculates in each statement."
            )


def other_expressions(table: Table) -> Iterator[tuple[str, Any]]:
    """Yield the expressions and conditions of indexes, and those of computed columns."""
    for index in table.indexes:
        conditions = [index.dialect_options[name]["where"] for name in ("sqlite", "postgresql")]
        expressions = [part for part in index.expressions if not isinstance(part, Column)]
        for part in (*expressions, *conditions):
            if part is not None:
                yield f"the index {index.name}", part
    for column in table.columns:
        if column.computed is not None:
            yield f"the computed column {column.name}", column.computed.sqltext
            if isinstance(column.type, ENCODED):  # its result would not be in the form of the column
                yield f"the computed column {column.name}", column.name


def refused_name(text: str, encoded: Encoded) -> str | None:
    """Return the first encoded column that a text mentions outside of comparisons that are right in each form."""
    rest = re.sub(r"'[^']*'", "''", text)
    for name, column in encoded.items():
        rest = harmless(name, column, encoded).sub("TRUE", rest)
    return next((name for name in encoded if re.search(rf"\b{re.escape(name)}\b(?!\s*\()", rest)), None)


def harmless(name: str, column: Column[Any], encoded: Encoded) -> re.Pattern[str]:
    """Return a pattern for the comparisons of a column that are right in each form."""
    same = [re.escape(other) for other, part in encoded.items() if is_same_form(column, part)]
    zero = ["0"] if isinstance(column.type, DecimalColumn) and column.type.is_number else []
    operand = rf'(?:\w+\.)?"?(?:{"|".join([*same, *zero])})"?'
    comparison = rf"(?:>=|<=|<>|!=|=|<|>)\s*{operand}|IS\s+(?:NOT\s+)?NULL"
    return re.compile(
        rf'(?:(?<=^)|(?<=\()|(?<=AND\s)|(?<=OR\s))\s*(?:\w+\.)?"?\b{re.escape(name)}\b"?\s*(?:{comparison})'
        r"\s*(?=$|\)|AND\b|OR\b)",
        re.IGNORECASE,
    )


def is_same_form(first: Column[Any], second: Column[Any]) -> bool:
    return form_of(first.type) == form_of(second.type) and has_duration(first) == has_duration(second)


def with_columns(expression: Any, encoded: Encoded) -> Any:
    """Return an expression with the columns of the table in place of `column(…)`, which has no type."""

    def replace(element: Any, **_: Any) -> Any:
        is_name = type(element) is ColumnClause and not element.is_literal and element.table is None
        return encoded.get(element.name) if is_name else None

    names = {element.name for element in iterate(expression) if isinstance(element, ColumnClause)}
    return expression if names.isdisjoint(encoded) else replacement_traverse(expression, {}, replace)


@cache
def decimals_of(entity: Any) -> Mapping[str, DecimalColumn]:
    """Return the types of the decimal columns of an entity, by the names of their attributes."""
    mapper: Any = inspect(entity, raiseerr=False)
    if mapper is None:
        return {}
    kinds = {attribute.key: attribute.columns[0].type for attribute in mapper.column_attrs}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, DecimalColumn)}
