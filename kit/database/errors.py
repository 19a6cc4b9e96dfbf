"""Database errors: one table from the error codes of PostgreSQL (SQLSTATE) and SQLite to the meaning of the failure."""

import re
import sqlite3
from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from kit.auth.checked_sessions import NotStored
from kit.database.absent import absent_column

ASYNCPG_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DRIVER_ERRORS = (*ASYNCPG_ERRORS, sqlite3.Error)
"""The exceptions of the drivers. SQLAlchemy does not wrap them while a connection is set up, or breaks down."""
UNDEFINED_TABLE, UNDEFINED_COLUMN, DENIED = "42P01", "42703", "42501"
"""SQLSTATEs of PostgreSQL. SQLite's errors for an undefined table or column get them too, by their message."""
DATA = "22"
"""The class of SQLSTATEs of PostgreSQL for values that it refuses."""
POOLER_HINT = "through PgBouncer, set DATABASE_POOLER=transaction"
FOREIGN_KEY, TRIGGER = "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_TRIGGER"
"""SQLite's codes of foreign keys, and of triggers, which RESTRICT has too."""


class RolledBack(Exception):  # noqa: N818  the request is run again, so nothing is wrong
    """Raised if a transaction that several requests shared was rolled back, because of another request."""


class Unreachable(ConnectionError):  # noqa: N818  named as the subclasses of `ConnectionError`
    """Raised if the database cannot be reached, or has closed the connection.

    A plain ConnectionError may come from another server to which a handler connects.
    """


class DriverFailure(Exception):  # noqa: N818  named as the others
    """Wraps an exception `orig` of a driver that SQLAlchemy has not wrapped in a DBAPIError."""

    def __init__(self, orig: Exception) -> None:
        super().__init__(str(orig) or type(orig).__name__)
        self.orig = orig


class OutOfRange(OverflowError):  # noqa: N818  named as `OverflowError`
    """Raised if a parameter is a number that is too large for the driver or its column, or that is not a number."""


OF_VALUES = (OverflowError, InvalidOperation)
"""The exceptions of drivers and column types for a value. `Decimal` raises the second one for a text."""

WITH_CODE = (DBAPIError, EmulatedDBAPIException, DriverFailure)
"""The exceptions with an error code of the database."""
FAILURES = (*WITH_CODE, PoolTimeout, StaleDataError, Unreachable, OutOfRange, RolledBack, NotStored)
"""The exceptions of a session when the database fails, refuses a statement, or is unavailable.

A plain `OSError` or `OverflowError`, or an exception of `sqlite3` or `asyncpg`, is not included: a handler may raise it
for other reasons, such as a file or a server that it opens itself.
"""


def with_origin(failure: BaseException) -> Exception | None:
    """Return the exception of `FAILURES` for a bare exception from a driver; None for other exceptions.

    Only for exceptions that are known to come from the database's connection: an OSError may have other causes.
    """
    text = str(failure) or type(failure).__name__
    if isinstance(failure, OSError):
        return Unreachable(text)
    if isinstance(failure, DRIVER_ERRORS):
        return DriverFailure(failure)
    return OutOfRange(text) if isinstance(failure, OF_VALUES) else None


class KnownError(NamedTuple):
    """A row of `TABLE`: a kind of database error, and what it means for the request.

    `codes` are SQLSTATEs or prefixes of them, names of SQLite's error codes, or names of exceptions.
    """

    description: str
    codes: tuple[str, ...]
    meaning: str


TABLE = (
    # 503
    KnownError("pool exhausted", ("PoolTimeout",), "unavailable"),
    KnownError("lock timeout", ("55", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"), "unavailable"),
    KnownError("disk full, out of memory", ("53", "SQLITE_FULL", "SQLITE_NOMEM"), "unavailable"),
    KnownError("input or output failed", ("58", "40003", "SQLITE_IOERR", "SQLITE_CANTOPEN"), "unavailable"),
    KnownError("no access, no such database", ("28", "3D", "57P04", "SQLITE_PERM"), "unavailable"),
    KnownError("read-only file", ("SQLITE_READONLY",), "unavailable"),
    KnownError("damaged file", ("SQLITE_NOTADB", "SQLITE_CORRUPT", "XX001", "XX002"), "unavailable"),
    KnownError("no rights", (DENIED, "SQLITE_AUTH"), "unavailable"),
    # 503, with an instruction for the operator
    KnownError("no such table", (UNDEFINED_TABLE,), "unready"),
    KnownError("no such column", (UNDEFINED_COLUMN,), "unready"),
    # retried for some seconds, on other connections; then 503
    KnownError("read-only server", ("25006",), "lost"),
    KnownError("refused, reset, no such host", ("OSError",), "lost"),
    KnownError("connection lost", ("08",), "lost"),
    KnownError("starting up, shutting down", ("57P",), "lost"),
    KnownError("too many clients", ("53300",), "lost"),
    # the request is run again a few times; then 503 or 409
    KnownError("serialization", ("40001", "40000", "40002"), "again"),
    KnownError("deadlock", ("40P01",), "again"),
    KnownError("another version", ("StaleDataError",), "again"),
    # 504
    KnownError("timeout of a statement or transaction", ("57014", "25P03", "25P04", "SQLITE_INTERRUPT"), "timeout"),
    # 409
    KnownError("unique", ("23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"), "taken"),
    KnownError("exclusion", ("23P01",), "excluded"),
    KnownError("foreign key", ("23503", "23001", FOREIGN_KEY), "reference"),
    KnownError("left out by a trigger", ("NotStored",), "not_stored"),
    KnownError("refused by a trigger, rule or view", ("P0001", "23", "44000", "SQLITE_CONSTRAINT"), "refused"),
    # 422
    KnownError("not null", ("23502", "SQLITE_CONSTRAINT_NOTNULL"), "invalid"),
    KnownError("check", ("23514", "SQLITE_CONSTRAINT_CHECK"), "invalid"),
    KnownError("of another type, in a STRICT table", ("SQLITE_CONSTRAINT_DATATYPE", "SQLITE_MISMATCH"), "invalid"),
    # 422, with a log line: the field lacks a bound
    KnownError("out of range", (DATA, "OverflowError"), "unbounded"),
    KnownError("too large", ("54000", "54001", "SQLITE_TOOBIG"), "unbounded"),
)
MEANINGS = {code: known.meaning for known in TABLE for code in known.codes} | {RolledBack.__name__: "again"}


def meaning_of(failure: Exception) -> str | None:
    """Return the meaning of a failure in `TABLE`; None for a programming error, such as a syntax error in SQL."""
    code = code_of(failure)
    family = "_".join(code.split("_")[:2])  # SQLITE_BUSY of SQLITE_BUSY_SNAPSHOT
    known = next((MEANINGS[part] for part in (code, family, code[:3], code[:2]) if part in MEANINGS), None)
    return known or ("lost" if getattr(failure, "connection_invalidated", False) else None)


def may_be_committed(failure: Exception) -> bool:
    """Return whether a COMMIT that failed with this exception may have taken effect nevertheless.

    This is so if the connection was lost before the answer, if SQLite could not write, or if the database says so.
    """
    return meaning_of(failure) == "lost" or code_of(failure).startswith(("SQLITE_IOERR", "40003"))


def code_of(failure: Exception) -> str:
    """Return the code of a failure: its SQLSTATE, the name of SQLite's error code, or the name of the exception."""
    if isinstance(failure, PoolTimeout):
        return "PoolTimeout"
    for kind in (OSError, OverflowError):
        if isinstance(failure, kind):
            return kind.__name__
    driver: Any = failure.orig if isinstance(failure, (DBAPIError, DriverFailure)) else failure
    if not isinstance(failure, WITH_CODE):
        return type(failure).__name__
    code = getattr(driver, "sqlstate", None) or NAMES.get(getattr(driver, "sqlite_errorcode", None))
    code = code or getattr(driver, "sqlite_errorname", None)
    if code in UNCERTAIN:
        return code_by_message(code, str(driver))
    return str(code or code_of_client(driver))


NAMES: Mapping[int | None, str] = {3091: "SQLITE_CONSTRAINT_DATATYPE"}
"""The names of SQLite's error codes that Python's module does not know."""
UNCERTAIN = ("SQLITE_ERROR", UNDEFINED_COLUMN, DENIED, TRIGGER)
"""Codes with several meanings, such as a mistake in operation (a missing table) and a programming error."""
REFERENCE_FAILED = "FOREIGN KEY constraint failed"
"""SQLite's message for a violated foreign key."""
REFUSED_VALUES = ("integer overflow", "malformed JSON", "LIKE or GLOB pattern too complex")
"""SQLite's messages for values that its functions and operators refuse."""


def code_by_message(code: str, message: str) -> str:
    """Decide by the message what one of the `UNCERTAIN` codes means.

    Returns the code of a missing table, column or right, of a foreign key, or of a value; for an error in the
    statement, a code that `TABLE` lacks.
    """
    if code == TRIGGER:
        return FOREIGN_KEY if message == REFERENCE_FAILED else TRIGGER
    if message.startswith("no such table"):
        return UNDEFINED_TABLE
    if absent_column(message):
        return UNDEFINED_COLUMN
    if message in REFUSED_VALUES:
        return DATA
    return code if code == DENIED and "row-level security" not in message else f"statement: {code}"


def code_of_client(driver: Exception) -> str:
    """Return a code for an exception that the driver raises without the database: mostly for a lost connection."""
    message = str(driver)
    if isinstance(driver, ValueError) or "binding parameter" in message:
        return DATA
    return "statement: arguments" if re.search("query arguments|for this query", message) else "08"


def first_line(failure: Exception) -> str:
    """Return the message of a failure, without the SQL statement that follows it, and with a hint on poolers."""
    line = str(failure).partition("\n")[0]
    return f"{line} ({POOLER_HINT})" if 'prepared statement "__asyncpg' in line else line
