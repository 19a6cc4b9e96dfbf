"""Absent tables and columns of the models: found at start and in database errors, and reported until they exist."""

import re
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, Table, text
from sqlmodel import SQLModel

from kit.models.entities import known_tables

ABSENT_TABLE = re.compile(r'no such table: (?:main\.)?"?(\w+)|relation "(?:\w+\.)?(\w+)" does not exist')
ABSENT_COLUMN = re.compile(
    r"no such column: (?:(?P<a>\w+)\.)?\"?(?P<b>\w+)|table (?P<c>\w+) has no column named (?P<d>\w+)"
    r'|column "?(?:(?P<e>\w+)\.)?(?P<f>\w+)"? (?:of relation "(?P<g>\w+)" )?does not exist'
)
COLUMNS = {
    "sqlite": "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_xinfo(t.name) c WHERE t.type = 'table'",
    "postgresql": (
        "SELECT t.relname, c.attname FROM pg_class t JOIN pg_attribute c ON c.attrelid = t.oid"
        " WHERE pg_table_is_visible(t.oid) AND c.attnum > 0 AND NOT c.attisdropped"
    ),
}
"""By dialect, the SELECT of all columns of the database, each with its table."""
noticed: set[str] = set()
"""The tables, and columns as `table.column`, that were absent at start or when a request needed them."""


def absent_table(message: str) -> str | None:
    """Return the name of the missing table in a database message; None if there is none, or if no model has it."""
    found = ABSENT_TABLE.search(message)
    name = found and (found[1] or found[2])
    return name if name in known_tables() else None


def absent_column(message: str) -> str | None:
    """Return the absent column in a database message, as `table.column`; None if there is none, or if no model has it.

    A column that no model has is an error in the statement, not a missing migration. If the message names an alias
    instead of a table, a table with such a column is taken.
    """
    found = ABSENT_COLUMN.search(message)
    if found is None:
        return None
    table, column = found["a"] or found["c"] or found["e"] or found["g"], found["b"] or found["d"] or found["f"]
    having = sorted(name for name, known in known_tables().items() if column in known.columns)
    named = table if table in having else next(iter(having), None)
    return named and f"{named}.{column}"


def notice(name: str) -> str:
    """Add an absent table or column to `noticed`, and return the message for clients and operators."""
    noticed.add(name)
    kind = "column" if "." in name else "table"
    return f"The {kind} {name} is missing: run `make migrate`, or `make migration` if no migration adds it."


def tables_of(packages: Iterable[str]) -> list[Table]:
    """Return the tables of the models that are declared in these top-level packages."""
    roots = set(packages)
    own = (model for model in models(SQLModel) if model.__module__.split(".")[0] in roots)
    return [table for table in {getattr(model, "__table__", None) for model in own} if isinstance(table, Table)]


def models(model: type[SQLModel]) -> Iterator[type[SQLModel]]:
    """Yield a model, and all models that inherit from it."""
    yield model
    for child in model.__subclasses__():
        yield from models(child)


def notice_absent(connection: Connection, tables: Iterable[Table]) -> None:
    """Add the missing tables, and the missing columns of existing tables, to `noticed`."""
    existing = _existing(connection)
    for table in (table for table in tables if table.schema is None):  # other schemas are not in the search path
        columns = {f"{table.name}.{column.name}" for column in table.columns}
        noticed.update(columns - existing if table.name in existing else {table.name})


def still_absent(connection: Connection) -> list[str]:
    """Remove what exists by now from `noticed`, and return the rest, sorted."""
    if noticed:
        noticed.difference_update(_existing(connection))
    return sorted(noticed)


def _existing(connection: Connection) -> set[str]:
    """Return the names of all tables, and of their columns as `table.column`."""
    rows = connection.execute(text(COLUMNS[connection.dialect.name])).all()
    return {table for table, _ in rows} | {f"{table}.{column}" for table, column in rows}
