"""Foreign key violations of SQLite: finds the violated foreign key, which SQLite's error does not name."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Column, ForeignKeyConstraint, Table
from sqlalchemy.engine import ExceptionContext

from kit.database.errors import REFERENCE_FAILED
from kit.database.identifiers import quoted
from kit.database.written import assignments_of, clause, marks_in, table_of

KEEPING = ("NO ACTION", "RESTRICT")
"""The actions of ON DELETE and ON UPDATE that refuse the change of a row to which others refer."""
MAX_VALUES = 500
Row = Mapping[str, Any]
"""Values by the names of their columns in the database."""


class Violated(NamedTuple):
    """A violated foreign key. `is_referred`: rows refer to a deleted or changed one; otherwise a row is missing."""

    key: ForeignKeyConstraint
    is_referred: bool


def keys_to(table: Table) -> list[ForeignKeyConstraint]:
    """Return the foreign keys that refer to a table, sorted by their columns."""
    others = table.metadata.tables.values()
    keys = [key for other in others for key in other.foreign_key_constraints if key.referred_table is table]
    return sorted(keys, key=lambda key: (key.column_keys, str(key.name)))


def name_reference(context: ExceptionContext) -> None:
    """Set `violated` of the exception to the violated foreign key, if it is found. Listens to `handle_error`.

    The transaction is still open then, so the rows of the failed transaction can be queried.
    """
    failure: Any = context.original_exception
    is_reference = isinstance(failure, sqlite3.IntegrityError) and str(failure) == REFERENCE_FAILED
    if is_reference and context.statement and context.connection is not None:
        cursor = context.connection.connection.cursor()
        with suppress(sqlite3.Error):  # a table that is not migrated
            failure.violated = next(_violated(cursor, context.statement, context.parameters), None)
        cursor.close()


def _violated(cursor: Any, statement: str, parameters: Any) -> Iterator[Violated]:
    table = table_of(statement)
    if table is None:
        return
    written = _written(cursor, table, statement, parameters)
    for key in sorted(table.foreign_key_constraints, key=lambda key: (key.column_keys, str(key.name))):
        there = [element.column for element in key.elements]
        values = _values(written, key.columns)
        values -= _values(written, there) if key.referred_table is table else set()  # a row may refer to itself
        if not values <= set(_found(cursor, there, there, values)):
            yield Violated(key, is_referred=False)
    before = _before(cursor, table, statement, parameters)
    changed = {name for name, _ in assignments_of(statement)}
    for key in _keys_that_keep(cursor, table, before, changed):
        yield Violated(key, is_referred=True)


def _written(cursor: Any, table: Table, statement: str, parameters: Any) -> list[Row]:
    """Return the values of each row that an INSERT or UPDATE writes: those that are parameters, not expressions.

    Of an UPDATE, the other columns have the values from before it.
    """
    assignments = assignments_of(statement)
    marks, width = [], 0
    for name, expression in assignments:
        marks += [(name, width)] if expression.strip() == "?" else []
        width += marks_in(expression)
    if not marks:
        return []
    if statement.lstrip().startswith("INSERT"):  # the values of several rows are in one sequence
        starts = ((row, at) for row in _rows(parameters) for at in range(0, len(row), width))
        return [{name: row[at + index] for name, index in marks if at + index < len(row)} for row, at in starts]
    return [
        {**before, **{name: row[index] for name, index in marks}}
        for row in _rows(parameters)
        for before in _before(cursor, table, statement, row, _columns_of_keys(table))
    ]


def _before(
    cursor: Any, table: Table, statement: str, parameters: Any, columns: Iterable[Column[Any]] = ()
) -> list[Row]:
    """Return the rows that an UPDATE or DELETE concerns, as they are before it; none for an INSERT."""
    if statement.lstrip().startswith("INSERT"):
        return []
    names, condition = _names([*_referred_columns(table), *columns]), clause(statement, "WHERE")
    skipped = marks_in(clause(statement, "SET"))
    sql = f"SELECT {_listed(names)} FROM {quoted(table.name)} WHERE {condition or 'TRUE'}"  # noqa: S608  of ours
    rows: list[Row] = []
    for row in _rows(parameters):
        cursor.execute(sql, tuple(row[skipped : skipped + marks_in(condition)]))
        rows += [dict(zip(names, found, strict=True)) for found in cursor.fetchall()]
    return rows


def _keys_that_keep(
    cursor: Any, table: Table, rows: Sequence[Row], changed: Set[str], passed: Collection[Any] = ()
) -> Iterator[ForeignKeyConstraint]:
    """Yield the foreign keys by which other rows refer to these rows, and which keep them from being deleted.

    Rows that are deleted with them (CASCADE) may be kept too. `changed` are the columns of an UPDATE.
    """
    for key in keys_to(table):
        there = [element.column for element in key.elements]
        if key in passed or (changed and changed.isdisjoint(_names(there))):
            continue
        action = (key.onupdate if changed else key.ondelete) or KEEPING[0]
        columns = [*_referred_columns(key.table), *key.table.primary_key]
        names = _names(columns)
        found = [
            dict(zip(names, row, strict=True)) for row in _found(cursor, key.columns, columns, _values(rows, there))
        ]
        if action.upper() in KEEPING:
            if any(row not in rows for row in found):
                yield key
        elif found and not changed and action.upper() == "CASCADE":
            yield from _keys_that_keep(cursor, key.table, found, set(), [*passed, key])


def _referred_columns(table: Table) -> list[Column[Any]]:
    """Return the columns of a table to which foreign keys refer, and its primary key."""
    return [*table.primary_key, *(element.column for key in keys_to(table) for element in key.elements)]


def _columns_of_keys(table: Table) -> list[Column[Any]]:
    return [column for key in table.foreign_key_constraints for column in key.columns]


def _names(columns: Iterable[Column[Any]]) -> list[str]:
    return list(dict.fromkeys(column.name for column in columns))


def _values(rows: Iterable[Row], columns: Iterable[Column[Any]]) -> set[tuple[Any, ...]]:
    """Return the values of these columns in each row, except rows in which one of them is unknown or NULL."""
    names = [column.name for column in columns]
    return {values for row in rows if None not in (values := tuple(map(row.get, names)))}


def _found(
    cursor: Any, columns: Iterable[Column[Any]], shown: Iterable[Column[Any]], values: Collection[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Return the `shown` columns of the rows in whose `columns` are one of the values."""
    columns, wanted, found = list(columns), list(values), []
    size = MAX_VALUES // len(columns)
    for chunk in (wanted[start : start + size] for start in range(0, len(wanted), size)):
        marks = ", ".join([f"({', '.join('?' * len(columns))})"] * len(chunk))
        names, sought = _listed(_names(shown)), _listed([column.name for column in columns])
        sql = f"SELECT {names} FROM {quoted(columns[0].table.name)} WHERE ({sought}) IN (VALUES {marks})"  # noqa: S608
        cursor.execute(sql, tuple(value for each in chunk for value in each))
        found += cursor.fetchall()
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def _rows(parameters: Any) -> Iterator[Sequence[Any]]:
    is_many = bool(parameters) and isinstance(parameters[0], Sequence) and not isinstance(parameters[0], str | bytes)
    yield from (parameters if is_many else [parameters or ()])
