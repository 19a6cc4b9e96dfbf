"""Violations: the constraint that a database error reports, with its table and columns.

PostgreSQL reports the table, the constraint and mostly the columns. The message of SQLite has the columns of a UNIQUE
or NOT NULL constraint, and the name of any other constraint.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Table

from kit.database.written import column_of_argument, table_of
from kit.models.entities import known_tables

SQLITE_MESSAGE = re.compile(r"\w+(?: NULL)? constraint failed: (?:index '(?P<index>.+)'|(?P<other>.+))", re.DOTALL)
KEY_OF_DETAIL = re.compile(r"\((.*?)\)=\(")
"""The columns in PostgreSQL's detail of a violation, such as `Key (room, day)=(7, 2026-01-01) already exists.`"""
REBUILT = "_alembic_tmp_"
"""The prefix of the name of a table while a migration rebuilds it on SQLite."""
Columns = Sequence[Column[Any]]


class Violation(NamedTuple):
    """A violated constraint or unique index; None if no model declares it. `columns` are empty if they are unknown.

    `is_referred`: a foreign key of other rows, which refer to the row that is changed or deleted.
    """

    table: Table | None = None
    constraint: Any = None
    columns: Columns = ()
    is_referred: bool = False


def violation_of(failure: Exception) -> Violation:
    """Return the constraint that an error of the database reports."""
    driver: Any = getattr(failure, "orig", None)
    details = getattr(driver, "__cause__", None) or driver  # asyncpg's own exception, if SQLAlchemy has wrapped it
    if found := getattr(details, "violated", None):  # set by `name_reference`
        return Violation(found.key.table, found.key, list(found.key.columns), found.is_referred)
    statement = statement_of(failure)
    written = table_of(statement)
    if (message := SQLITE_MESSAGE.fullmatch(str(driver))) is not None:
        return _of_sqlite(message["index"] or message["other"], written)
    table = known_tables().get(getattr(details, "table_name", None) or "", written)
    return Violation() if table is None else _of_postgresql(table, details, statement)


def statement_of(failure: Exception) -> str:
    return getattr(failure, "statement", None) or ""


def _of_sqlite(text: str, written: Table | None) -> Violation:
    """Return the violation by the end of SQLite's message: `table.column, table.column`, a name, or a condition."""
    parts = [part.removeprefix(REBUILT).partition(".") for part in text.split(", ")]
    table = known_tables().get(parts[0][0])
    if columns := [] if table is None else named_columns(table, [name for _, _, name in parts]):
        return Violation(table, None, columns)
    table = next((each for each in known_tables().values() if named(each, text) is not None), written)
    return Violation() if table is None else Violation(table, named(table, text), columns_named(table, text))


def _of_postgresql(table: Table, details: Any, statement: str) -> Violation:
    name, detail = getattr(details, "constraint_name", None) or "", getattr(details, "detail", None) or ""
    constraint, key = named(table, name), KEY_OF_DETAIL.search(detail)
    if isinstance(constraint, ForeignKeyConstraint):
        is_referred = key is not None and is_of_referred(key[1], constraint, table_of(statement))
        return Violation(table, constraint, list(constraint.columns), is_referred)
    message = f"{details} {getattr(details, 'context', None)}"
    column = getattr(details, "column_name", None) or column_of_argument(message, statement)
    columns = named_columns(table, [column]) or columns_named(table, name) or (mentioned(table, key[1]) if key else [])
    return Violation(table, constraint, columns)


def is_of_referred(key: str, foreign_key: ForeignKeyConstraint, written: Table | None) -> bool:
    """Return whether `key`, the columns in PostgreSQL's detail, are in the table to which the foreign key refers.

    `written` is the table of the failed statement. It decides if the columns have the same names in both tables.
    """
    own = [column.name for column in foreign_key.columns]
    referred = [element.column.name for element in foreign_key.elements]
    if own == referred:
        return written is not None and written is not foreign_key.table
    return [name.strip(' "') for name in key.split(",")] == referred


def named(table: Table, name: str) -> Any:
    """Return the constraint or index of a table with this name; None if it has none."""
    declared: list[Any] = [*table.constraints, *table.indexes]
    return next((each for each in declared if name and str(each.name) == name), None)


def named_columns(table: Table, names: Sequence[str | None]) -> list[Column[Any]]:
    return [column for name in names for column in table.columns if column.name == name]


def columns_named(table: Table, name: str) -> list[Column[Any]]:
    """Return the columns of the constraint or index `name` of a table.

    If it has none, or no model declares it, return the column in its name (`ck_table_column`), or the columns that its
    expressions, or its name, mention.
    """
    constraint = named(table, name)
    columns = [] if constraint is None else [column for column in constraint.columns if column.table is table]
    in_name = named_columns(table, [name[3:].removeprefix(f"{table.name}_")])
    expressions = " ".join(map(str, expressions_of(constraint)))
    return columns or in_name or mentioned(table, expressions or re.sub(rf"^{table.name}_|_check$", "", name))


def expressions_of(constraint: Any) -> Sequence[Any]:
    """Return the condition of a CHECK, or the expressions of an index."""
    is_check = isinstance(constraint, CheckConstraint)
    return [constraint.sqltext] if is_check else getattr(constraint, "expressions", ())


def mentioned(table: Table, text: str) -> list[Column[Any]]:
    """Return the columns of a table whose names a text contains, in the order of the text."""
    places = {column: re.search(rf"(?<!\w){re.escape(column.name)}(?!\w)", text) for column in table.columns}
    found = [(place.start(), column) for column, place in places.items() if place]
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]
