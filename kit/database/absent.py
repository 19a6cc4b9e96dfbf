"""Absent tables and columns: named by errors of the database, and remembered while the service is not ready."""

import re
from typing import Any

from sqlalchemy import Connection, inspect

from kit.models.entities import known_tables

ABSENT_TABLE = re.compile(r'no such table: (?:main\.)?"?(\w+)|relation "(?:\w+\.)?(\w+)" does not exist')
ABSENT_COLUMN = re.compile(
    r"no such column: (?:(?P<a>\w+)\.)?\"?(?P<b>\w+)|table (?P<c>\w+) has no column named (?P<d>\w+)"
    r'|column "?(?:(?P<e>\w+)\.)?(?P<f>\w+)"? (?:of relation "(?P<g>\w+)" )?does not exist'
)
noticed: set[str] = set()
"""The tables, and columns as `table.column`, that were absent when a request needed them."""


def absent_table(message: str) -> str | None:
    """Return the name of the missing table from a database message, or None if no model has this table."""
    found = ABSENT_TABLE.search(message)
    name = found and (found[1] or found[2])
    return name if name in known_tables() else None


def absent_column(message: str) -> str | None:
    """Return the absent column in a message of the database, as `table.column`; None if no model has it.

    Then the statement is wrong, and not the database. Aliases of tables are ignored.
    """
    found = ABSENT_COLUMN.search(message)
    if found is None:
        return None
    table, column = found["a"] or found["c"] or found["e"] or found["g"], found["b"] or found["d"] or found["f"]
    having = sorted(name for name, known in known_tables().items() if column in known.columns)
    named = table if table in having else next(iter(having), None)
    return named and f"{named}.{column}"


def notice(name: str) -> str:
    """Remember an absent table or column, and return the message for clients and operators."""
    noticed.add(name)
    kind = "column" if "." in name else "table"
    return f"The {kind} {name} is missing: the database is not migrated; run `make migrate`."


def still_absent(connection: Connection) -> list[str]:
    """Return the noticed tables and columns that do not exist yet. The others are forgotten."""
    if noticed:
        inspector: Any = inspect(connection)
        tables = set(inspector.get_table_names())
        for name in sorted(noticed):
            table, _, column = name.partition(".")
            columns = {each["name"] for each in inspector.get_columns(table)} if table in tables else set()
            if table in tables and (not column or column in columns):
                noticed.discard(name)
    return sorted(noticed)
