"""Constraint violations: finds the fields that a database error concerns, mostly by the name of the constraint."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Table, UniqueConstraint

from kit.auth.privacy import private_columns
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import known_tables


def field_of(failure: Exception) -> str:
    """Return the fields of a violated constraint, joined by `and`."""
    return " and ".join(fields_of(failure))


def fields_of(failure: Exception) -> Sequence[str]:
    """Return the fields of a violated constraint, whose name has the form `uq_table_field` (or `ck_…`, `fk_…`).

    If no field is found, the result is `[UNKNOWN]`.
    """
    driver: Any = getattr(failure, "orig", None)
    details = getattr(driver, "__cause__", None) or driver  # asyncpg's own exception, if SQLAlchemy has wrapped it
    if several := sqlite_columns(str(driver)):
        return several
    name = getattr(details, "constraint_name", None) or sqlite_constraint(str(driver))
    tables = sorted(known_tables(), key=len, reverse=True)
    table = next((table for table in tables if name and f"{name[3:]}_".startswith(f"{table}_")), None)
    if name and table:
        return fields_named(known_tables()[table], name) or [UNKNOWN]
    column = getattr(details, "column_name", None) or foreign_keys_of(statement_of(failure))
    return [column] if column else unnamed(failure, name or str(driver)) or [UNKNOWN]


UNKNOWN = "A value"
"""Used in messages in place of a field if neither the error nor the constraint names one."""


def fields_named(table: Table, name: str) -> Sequence[str]:
    """Return the columns of the constraint or index `name` of a table.

    If it has none, return the field in its name, or the columns that its expressions mention.
    """
    things: list[Any] = [*table.indexes, *table.constraints]
    thing = next((thing for thing in things if thing.name == name), None)
    columns = [] if thing is None else [column for column in thing.columns if column.table is table]
    field = name[3:].removeprefix(f"{table.name}_")
    if not columns and field not in table.columns:
        return mentioned(table, " ".join(map(str, expressions_of(thing))))
    return [str(column.name) for column in columns] or [field]


def expressions_of(thing: Any) -> Sequence[Any]:
    """Return the condition of a CHECK, or the expressions of an index."""
    return [thing.sqltext] if isinstance(thing, CheckConstraint) else getattr(thing, "expressions", ())


def unnamed(failure: Exception, text: str) -> Sequence[str]:
    """Return the fields of a constraint that no model declares: the columns whose names `text` contains.

    `text` is the name of the constraint, or the message of the database.
    """
    table = table_of(statement_of(failure))
    return [] if table is None else mentioned(table, re.sub(rf"^{table.name}_|_check$", "", text))


def mentioned(table: Table, text: str) -> list[str]:
    """Return the columns of a table whose names a text contains, in the order of the text."""
    return [word for word in dict.fromkeys(re.findall(r"\w+", text)) if word in table.columns]


def sqlite_columns(message: str) -> Sequence[str]:
    """Return the columns of a violated UNIQUE of two or more columns from SQLite's message; otherwise none."""
    listed = message.removeprefix("UNIQUE constraint failed: ")
    found = re.findall(r"\w+\.(\w+)(?:, |$)", listed) if listed != message else []
    return found if len(found) > 1 else []


def taken_fields(failure: Exception) -> Sequence[str]:
    """Return the fields whose unique values are taken, for the detail of a 409.

    If the table has private fields, members get the names of all its unique fields instead. Otherwise they could find
    out whether an e-mail address is known.
    """
    table = table_of(statement_of(failure))
    if table is None or CURRENT_PRINCIPAL.get().is_superuser or not private_columns(table):
        return fields_of(failure)
    uniques = [str(index.name) for index in table.indexes if index.unique]
    uniques += [str(part.name) for part in table.constraints if isinstance(part, UniqueConstraint)]
    if not uniques:  # of the primary key
        return fields_of(failure)
    return [" or ".join(sorted(name.removeprefix(f"uq_{table.name}_") for name in uniques))]


def sqlite_constraint(message: str) -> str | None:
    """Return the name of the violated constraint from a message of SQLite, or that of a UNIQUE by its column."""
    match = re.fullmatch(r"\w+(?: NULL)? constraint failed: (?:index '(\w+)'|(\w+)\.(\w+).*|(\w+))", message)
    if match is None:
        return None
    return match[1] or match[4] or f"uq_{match[2]}_{match[3]}"


def foreign_keys_of(statement: str) -> str:
    """Return all foreign keys of the table that a statement writes, joined by `or`: it is unknown which one failed."""
    table = table_of(statement)
    return " or ".join(sorted(key.parent.name for key in table.foreign_keys)) if table is not None else ""


def table_of(statement: str) -> Table | None:
    """Return the table in the text of an INSERT or UPDATE; None for other statements and unknown tables."""
    words = statement.replace("INSERT INTO", "UPDATE").split(maxsplit=2)
    return known_tables().get(words[1].strip('"')) if len(words) > 1 else None


def referrers_of(failure: Exception) -> str:
    """Return the fields that refer to a row and prevent its deletion, joined by `or`; empty for an unknown table."""
    driver: Any = getattr(failure, "orig", None)
    details = getattr(driver, "__cause__", None) or driver
    if getattr(details, "constraint_name", None) or getattr(details, "column_name", None):
        return field_of(failure)
    table = known_tables().get(statement_of(failure).split()[2].strip('"'))
    if table is None:
        return ""
    return " or ".join(sorted({key.parent.name for key in keys_to(table) if not key.ondelete}))


def keys_to(table: Table) -> list[ForeignKey]:
    """Return the foreign keys that refer to a table."""
    keys = [key for other in table.metadata.tables.values() for key in other.foreign_keys]
    return [key for key in keys if key.column.table is table]


def statement_of(failure: Exception) -> str:
    return getattr(failure, "statement", None) or ""
