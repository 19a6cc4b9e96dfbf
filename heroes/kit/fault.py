"""What does a database's failure mean: by SQLSTATE or by SQLite's code, never by its prose; one table for both."""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import SQLModel

from heroes.kit.problem import Problem, conflict, error, invalid

FAILURES = (DBAPIError, PoolTimeout, StaleDataError, OSError, OverflowError)
"""What a session raises when the database fails, refuses, or is not there."""

MEANING: Mapping[str, str] = {
    "23505": "taken",
    "SQLITE_CONSTRAINT_UNIQUE": "taken",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "taken",
    "23001": "reference",
    "23503": "reference",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "reference",
    "23502": "invalid",
    "23514": "invalid",
    "SQLITE_CONSTRAINT_NOTNULL": "invalid",
    "SQLITE_CONSTRAINT_CHECK": "invalid",
    "22": "invalid",  # data exceptions: a bound is missing
    "54": "invalid",  # program limits, such as an index entry that is too long: a bound is missing
    "SQLITE_TOOBIG": "invalid",
    "OverflowError": "invalid",
    "40001": "again",  # serialization
    "40P01": "again",  # deadlock
    "StaleDataError": "again",  # another writer raised the version, or deleted the row
    "57014": "timeout",
    "25006": "unavailable",  # read-only
    "08": "unavailable",  # connection
    "28": "unavailable",  # authentication
    "3D": "unavailable",  # no such database
    "53": "unavailable",  # full, out of memory, too many clients
    "55": "unavailable",  # lock timeout
    "57": "unavailable",  # shutting down, starting up
    "58": "unavailable",  # input or output
    "SQLITE_BUSY": "unavailable",
    "SQLITE_CANTOPEN": "unavailable",
    "SQLITE_FULL": "unavailable",
    "SQLITE_IOERR": "unavailable",
    "SQLITE_LOCKED": "unavailable",
    "SQLITE_READONLY": "unavailable",
    "OSError": "unavailable",  # refused, reset, no such host
    "TimeoutError": "unavailable",  # the pool is exhausted
}


def meaning_of(failure: Exception) -> str | None:
    """One of MEANING's words, or None for a fault of our own, such as a table that does not exist."""
    if isinstance(failure, DBAPIError) and failure.connection_invalidated:
        return "unavailable"
    code = code_of(failure)
    family = "_".join(code.split("_")[:2]) if code.startswith("SQLITE") else code[:2]
    return MEANING.get(code) or MEANING.get(family)


def code_of(failure: Exception) -> str:
    driver = getattr(failure, "orig", None)
    if driver is None:
        return "OSError" if isinstance(failure, OSError) else type(failure).__name__
    return getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None) or "08"


def problem_of(failure: Exception, *, committing: bool = False) -> Problem | None:
    """The answer to a failure of the database; None if it is a fault of our own.

    If it fell into a COMMIT, nobody knows whether the transaction took effect, and `outcome` says so.
    """
    meaning = meaning_of(failure)
    if meaning == "taken":
        field = field_of(failure)
        return conflict(field, f"{field} is taken: another one has this value.", "taken")
    if meaning == "reference":
        return broken_reference(failure)
    if meaning == "invalid":
        return invalid([error("body", f"#/{field_of(failure)}", "The database refuses this value.", "constraint")])
    if isinstance(failure, StaleDataError):
        return Problem(409, "Others keep changing the thing; try again.", kind="conflict")
    if meaning == "timeout":
        return Problem(504, "The database took too long.", kind="timeout")
    if meaning is None:
        return None
    outcome = "unknown" if committing else "not_applied"
    detail = "The database cannot serve this now; try again."
    return Problem(503, detail, kind="unavailable", headers={"Retry-After": "1"}, outcome=outcome)


def broken_reference(failure: Exception) -> Problem:
    if statement_of(failure).startswith("DELETE"):
        return Problem(409, f"Others still refer to it, by their {referrers_of(failure)}.", kind="in-use")
    field = field_of(failure)
    return conflict(field, f"{field} refers to something that does not exist.", "missing-reference")


def referrers_of(failure: Exception) -> str:
    table = SQLModel.metadata.tables[statement_of(failure).split()[2].strip('"')]
    keys = [key for other in SQLModel.metadata.tables.values() for key in other.foreign_keys]
    return " or ".join(sorted({key.parent.name for key in keys if key.column.table is table and not key.ondelete}))


def field_of(failure: Exception) -> str:
    """The field behind a failure, by the name of its constraint: `kind_table_field`."""
    driver: Any = getattr(failure, "orig", None)
    details = getattr(driver, "__cause__", None)  # asyncpg's own exception
    name = getattr(details, "constraint_name", None) or sqlite_constraint(str(driver))
    tables = sorted(SQLModel.metadata.tables, key=len, reverse=True)
    table = next((table for table in tables if name and name[3:].startswith(f"{table}_")), None)
    if name and table:
        return name[3:].removeprefix(f"{table}_")
    return getattr(details, "column_name", None) or foreign_keys_of(statement_of(failure)) or "A value"


def sqlite_constraint(message: str) -> str | None:
    """SQLite tells which constraint in its message, and nowhere else."""
    match = re.fullmatch(r"\w+(?: NULL)? constraint failed: (?:index '(\w+)'|(\w+)\.(\w+).*|(\w+))", message)
    if match is None:
        return None
    return match[1] or match[4] or f"uq_{match[2]}_{match[3]}"


def foreign_keys_of(statement: str) -> str:
    """SQLite does not tell which foreign key: name all of the table's."""
    words = statement.replace("INSERT INTO", "UPDATE").split(maxsplit=2)
    table = SQLModel.metadata.tables.get(words[1].strip('"')) if len(words) > 1 else None
    return " or ".join(sorted(key.parent.name for key in table.foreign_keys)) if table is not None else ""


def statement_of(failure: Exception) -> str:
    return getattr(failure, "statement", None) or ""
