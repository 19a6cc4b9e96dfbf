"""Database errors: one table from the error codes of PostgreSQL (SQLSTATE) and SQLite to the meaning of the failure."""

import sqlite3
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from kit.auth.checked_sessions import NotStored
from kit.database.absent import absent_column

ASYNCPG_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
DRIVER_ERRORS = (*ASYNCPG_ERRORS, sqlite3.Error)
"""Exceptions of the drivers, which SQLAlchemy does not wrap while a connection is being set up, or breaks down."""
UNDEFINED_TABLE, UNDEFINED_COLUMN, DENIED = "42P01", "42703", "42501"
"""SQLSTATEs. SQLite has no code for an undefined table or column, but a message."""


class RolledBack(Exception):  # noqa: N818  the request is run again, so nothing is wrong
    """A transaction that several requests shared was rolled back."""


class Unreachable(ConnectionError):  # noqa: N818  named as the subclasses of `ConnectionError`
    """The database cannot be reached, or has closed the connection. Other hosts raise a plain ConnectionError."""


class DriverFailure(Exception):  # noqa: N818  named as the others
    """A driver of the kit's engines has raised `orig`, which SQLAlchemy has not wrapped."""

    def __init__(self, orig: Exception) -> None:
        super().__init__(str(orig) or type(orig).__name__)
        self.orig = orig


class OutOfRange(OverflowError):  # noqa: N818  named as `OverflowError`
    """A number is too large for the driver."""


WITH_CODE = (DBAPIError, EmulatedDBAPIException, DriverFailure)
"""Exceptions that carry an error code of the database."""
FAILURES = (*WITH_CODE, PoolTimeout, StaleDataError, Unreachable, OutOfRange, RolledBack, NotStored)
"""The exceptions of a session when the database fails, refuses a statement, or is unavailable.

A plain `OSError` or `OverflowError`, and a bare exception of `sqlite3` or `asyncpg`, are not among them: the code of a
handler may raise them for other reasons, as with a file or a server that it opens itself.
"""


def with_origin(failure: BaseException) -> Exception | None:
    """Return a database error for a driver's exception that is not marked as one; None for other exceptions."""
    text = str(failure) or type(failure).__name__
    if isinstance(failure, OSError):
        return Unreachable(text)
    if isinstance(failure, DRIVER_ERRORS):
        return DriverFailure(failure)
    return OutOfRange(text) if isinstance(failure, OverflowError) else None


class KnownError(NamedTuple):
    """A row of the table.

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
    KnownError("input or output failed", ("58", "SQLITE_IOERR", "SQLITE_CANTOPEN"), "unavailable"),
    KnownError("no access, no such database", ("28", "3D", "57P04", "SQLITE_PERM"), "unavailable"),
    KnownError("read-only file", ("SQLITE_READONLY",), "unavailable"),
    KnownError("damaged file", ("SQLITE_NOTADB", "SQLITE_CORRUPT", "XX001", "XX002"), "unavailable"),
    KnownError("no rights", (DENIED,), "unavailable"),
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
    KnownError("serialization", ("40001",), "again"),
    KnownError("deadlock", ("40P01",), "again"),
    KnownError("another version", ("StaleDataError",), "again"),
    # 504
    KnownError("statement timeout", ("57014", "SQLITE_INTERRUPT"), "timeout"),
    # 409
    KnownError("unique", ("23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"), "taken"),
    KnownError("foreign key", ("23503", "23001", "SQLITE_CONSTRAINT_FOREIGNKEY"), "reference"),
    KnownError("left out by a trigger", ("NotStored",), "not_stored"),
    # 422
    KnownError("not null", ("23502", "SQLITE_CONSTRAINT_NOTNULL"), "invalid"),
    KnownError("check", ("23514", "SQLITE_CONSTRAINT_CHECK"), "invalid"),
    # 422, with a log line: the field lacks a bound
    KnownError("out of range", ("22", "OverflowError"), "unbounded"),
    KnownError("too large", ("54", "SQLITE_TOOBIG"), "unbounded"),
)
MEANINGS = {code: known.meaning for known in TABLE for code in known.codes} | {RolledBack.__name__: "again"}


def meaning_of(failure: Exception) -> str | None:
    """Return the meaning of a failure in the table; None for a programming error, such as a syntax error in SQL."""
    code = code_of(failure)
    family = "_".join(code.split("_")[:2])  # SQLITE_BUSY of SQLITE_BUSY_SNAPSHOT
    known = next((MEANINGS[part] for part in (code, family, code[:3], code[:2]) if part in MEANINGS), None)
    return known or ("lost" if getattr(failure, "connection_invalidated", False) else None)


def may_be_committed(failure: Exception) -> bool:
    """Return whether a failed COMMIT may have taken effect, because the database has not confirmed the rollback."""
    return meaning_of(failure) == "lost" or code_of(failure).startswith("SQLITE_IOERR")


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
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    if code in UNCERTAIN:
        return code_by_message(code, str(driver))
    return str(code or ("22" if isinstance(driver, ValueError) else "08"))


UNCERTAIN = ("SQLITE_ERROR", UNDEFINED_COLUMN, DENIED)
"""Codes that errors of an operator and programming errors have in common."""


def code_by_message(code: str, message: str) -> str:
    """Return the code of a missing table, column or right; for a wrong statement its code with a prefix."""
    if message.startswith("no such table"):
        return UNDEFINED_TABLE
    if absent_column(message):
        return UNDEFINED_COLUMN
    return code if code == DENIED and "row-level security" not in message else f"statement: {code}"


def first_line(failure: Exception) -> str:
    """Return the message of a failure, without the SQL statement that follows it."""
    return str(failure).partition("\n")[0]
