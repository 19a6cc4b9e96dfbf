"""Refused rows: names the constraint of a migration that stored rows violate, their number, and what to write.

The rows are counted in the state before the migration, whose columns may differ from those of the models. If that is
not possible, the message has no number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from alembic.util import CommandError
from sqlalchemy import CheckConstraint, Connection, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from kit.database.errors import code_of, first_line
from kit.database.identifiers import quoted
from kit.database.revision_comments import NONE, UNKNOWN, counted, sql_of
from kit.database.sqlite_reflection import escaped
from kit.database.violations import Violation, violation_of

NOT_NULL = ("23502", "SQLITE_CONSTRAINT_NOTNULL")
MESSAGE = """{}, which does not hold for {}. Change these rows first, or in the migration, before the step that fails: \
op.execute("UPDATE {} SET {} = … WHERE …")."""
KEYS = text('SELECT "from", coalesce("to", \'id\') FROM pragma_foreign_key_list(:name) WHERE id = :key ORDER BY seq')
"""The columns of a foreign key of SQLite, and those to which it refers."""


class RefusedRowsError(CommandError):
    """Raised if stored rows violate a constraint. Alembic's command line prints the message, without a traceback."""


@contextmanager
def explained(connection: Connection) -> Iterator[None]:
    """Raise a RefusedRowsError instead of an IntegrityError of the block, which has to roll back what it began."""
    try:
        yield
    except IntegrityError as failure:
        raise RefusedRowsError(explanation(connection, failure)) from failure


def explanation(connection: Connection, failure: IntegrityError) -> str:
    """Return the message for a violated constraint; that of the database if no model declares the constraint."""
    violation = violation_of(failure)
    table, constraint, columns = violation.table, violation.constraint, [column.name for column in violation.columns]
    if table is None or not (columns or isinstance(constraint, CheckConstraint)):
        return first_line(failure)
    field = f"{table.name}.{', '.join(columns)}"
    if code_of(failure) in NOT_NULL:
        null = f"{qualified(table.name, columns[0])} IS NULL"
        return message(connection, table.name, columns, f"{field} must not be NULL", null)
    if isinstance(constraint, ForeignKeyConstraint):
        keys = [element.column for element in constraint.elements]
        return orphans(connection, table.name, columns, keys[0].table.name, [key.name for key in keys])
    if isinstance(constraint, CheckConstraint):
        condition = " ".join(sql_of(connection, constraint.sqltext).split())
        requirement = f"{table.name} must satisfy {constraint.name} ({condition})"
        return message(connection, table.name, columns or ["…"], requirement, f"NOT ({condition})")
    return message(connection, table.name, columns, f"{field} must be unique", repeated(connection, violation))


def message(connection: Connection, table: str, columns: Sequence[str], requirement: str, condition: str) -> str:
    """Return the message for rows of a table that satisfy the condition, with their number and the first id."""
    number, first = counted(connection, table, text(escaped(condition))), None
    if number in (NONE, UNKNOWN):
        number = "rows that are stored"
    else:
        query = f"SELECT id FROM {quoted(table)} WHERE {condition} ORDER BY id LIMIT 1"  # noqa: S608  names of our own
        with suppress(DBAPIError), connection.begin_nested():  # a table of the application may have no id
            first = connection.scalar(text(escaped(query)))
    rows = number if first is None else f"{number}, such as the one with the id {first}"
    return MESSAGE.format(requirement, rows, table, ", ".join(columns))


def qualified(table: str, column: str) -> str:
    """Return the quoted name of a column with its table: SQLite takes the name alone of a missing column as text."""
    return f"{quoted(table)}.{quoted(column)}"


def repeated(connection: Connection, violation: Violation) -> str:
    """Return the condition for rows that have the same values as another row where they must be unique."""
    table, constraint = violation.table, violation.constraint or unique_of(violation)
    assert table is not None
    keys, where = [qualified(table.name, column.name) for column in violation.columns], None
    if isinstance(constraint, Index):
        keys = [sql_of(connection, key) for key in constraint.expressions]
        where = constraint.dialect_options[connection.dialect.name]["where"]
    only, values = "true" if where is None else sql_of(connection, where), ", ".join(keys)
    groups = f"SELECT {values} FROM {quoted(table.name)} WHERE {only} GROUP BY {values} HAVING count(*) > 1"  # noqa: S608
    return f"({values}) IN ({groups}) AND {only}"


def unique_of(violation: Violation) -> Any:
    """Return the UNIQUE or the unique index of the columns of a violation; None if the model has none."""
    assert violation.table is not None
    candidates: list[Any] = [*violation.table.constraints, *violation.table.indexes]
    unique = [
        constraint
        for constraint in candidates
        if isinstance(constraint, UniqueConstraint) or getattr(constraint, "unique", False)
    ]
    return next((constraint for constraint in unique if list(constraint.columns) == list(violation.columns)), None)


def orphans(connection: Connection, table: str, columns: Sequence[str], parent: str, keys: Sequence[str]) -> str:
    """Return the message for rows that refer to rows of `parent` that do not exist."""
    pairs = [(qualified(table, column), quoted(key)) for column, key in zip(columns, keys, strict=True)]
    given = " AND ".join(f"{column} IS NOT NULL" for column, _ in pairs)
    same = " AND ".join(f"parent.{key} = {column}" for column, key in pairs)
    condition = f"{given} AND NOT EXISTS (SELECT 1 FROM {quoted(parent)} AS parent WHERE {same})"  # noqa: S608
    requirement = f"{table}.{', '.join(columns)} must refer to a row of {parent}"
    return message(connection, table, columns, requirement, condition)


def refuse_orphans(connection: Connection) -> None:
    """Raise a RefusedRowsError if rows of a SQLite database violate a foreign key, which is not enforced meanwhile."""
    found = connection.execute(text("PRAGMA foreign_key_check")).first()
    if found is not None:
        table, _, parent, key = found
        columns, keys = zip(*connection.execute(KEYS, {"name": table, "key": key}), strict=True)
        raise RefusedRowsError(orphans(connection, table, columns, parent, keys))
