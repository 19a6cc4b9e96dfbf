"""Foreign key violations of SQLite: finds the violated foreign key, which SQLite's error does not name."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from sqlalchemy import ForeignKey, Table
from sqlalchemy.engine import ExceptionContext

from kit.database.constraints import keys_to, table_of
from kit.models.entities import known_tables

FAILED = "SQLITE_CONSTRAINT_FOREIGNKEY"
INSERT = re.compile(r'INSERT INTO "?\w+"? \((?P<names>[^)]*)\) VALUES')
UPDATE = re.compile(r'UPDATE "?\w+"? SET (?P<names>.*?) WHERE')
DELETE = re.compile(r'DELETE FROM "?(?P<table>\w+)"? WHERE (?:"?\w+"?\.)?"?(?P<name>\w+)"? = \?')
MAX_VALUES = 500


def name_reference(context: ExceptionContext) -> None:
    """Set `column_name` of the exception to the violated foreign key, if it is found. Listens to `handle_error`.

    The transaction is still open then, so the rows of the failed transaction can be queried.
    """
    failure: Any = context.original_exception
    if getattr(failure, "sqlite_errorname", None) == FAILED and context.statement and context.connection is not None:
        cursor = context.connection.connection.cursor()
        with suppress(sqlite3.Error):  # a table that is not migrated
            failure.column_name = next(_broken(cursor, context.statement, context.parameters), None)
        cursor.close()


def _broken(cursor: Any, statement: str, parameters: Any) -> Iterator[str]:
    """Yield the names of the foreign keys whose target row is missing; for a DELETE, of those that refer to the row."""
    deleted, table = DELETE.match(statement), table_of(statement)
    if deleted and deleted["table"] in known_tables():
        yield from _referring(cursor, known_tables()[deleted["table"]], deleted["name"], next(_rows(parameters))[0])
    elif table is not None:
        values = _values(statement, parameters)
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            referenced = {row[key.parent.name] for row in values if row.get(key.parent.name) is not None}
            if not referenced <= _present(cursor, key, list(referenced)):
                yield str(key.parent.name)


def _values(statement: str, parameters: Any) -> list[Mapping[str, Any]]:
    """Return the values of each row that an INSERT or UPDATE writes, by column."""
    found = INSERT.match(statement) or UPDATE.match(statement)
    names = re.findall(r'"?(\w+)"?(?:=\?)?(?:, |$)', found["names"]) if found else []
    rows = list(_rows(parameters)) if names else []
    if found and found.re is INSERT:  # the values of several rows are in one sequence
        return [dict(zip(names, row[at:], strict=False)) for row in rows for at in range(0, len(row), len(names))]
    return [dict(zip(names, row, strict=False)) for row in rows]


def _rows(parameters: Any) -> Iterator[Sequence[Any]]:
    is_many = bool(parameters) and isinstance(parameters[0], Sequence) and not isinstance(parameters[0], str | bytes)
    yield from (parameters if is_many else [parameters])


def _present(cursor: Any, key: ForeignKey, values: Sequence[Any]) -> set[Any]:
    """Return those of the values that exist in the column to which a foreign key refers."""
    target = key.column
    chunks = (values[start : start + MAX_VALUES] for start in range(0, len(values), MAX_VALUES))
    return set(chain.from_iterable(_found(cursor, target.table, target.name, chunk) for chunk in chunks))


def _found(cursor: Any, table: Any, column: str, values: Sequence[Any]) -> list[Any]:
    marks = ", ".join("?" * len(values))
    sql = f'SELECT "{column}" FROM "{table.name}" WHERE "{column}" IN ({marks})'  # noqa: S608  names of our own tables
    cursor.execute(sql, tuple(values))
    return [row[0] for row in cursor.fetchall()]


def _referring(cursor: Any, table: Table, column: str, value: Any) -> Iterator[str]:
    """Yield the names of the foreign keys that refer to this row and prevent its deletion."""
    for key in sorted(keys_to(table), key=lambda key: key.parent.name):
        is_keeping = key.column.name == column and key.ondelete not in ("CASCADE", "SET NULL", "SET DEFAULT")
        if is_keeping and _found(cursor, key.parent.table, key.parent.name, [value]):
            yield str(key.parent.name)
