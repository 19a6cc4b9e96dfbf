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
"""The exceptions of the drivers. SQLAlchemy does not wrap them while a connection is set up, or breaks down."""
UNDEFINED_TABLE, UNDEFINED_COLUMN, DENIED = "42P01", "42703", "42501"
"""SQLSTATEs of PostgreSQL. SQLite's errors for an undefined table or column get them too, by their message."""


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
    """Raised if a parameter is an integer that is too large for the driver."""


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
    return OutOfRange(text) if isinstance(failure, OverflowError) else None


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
    """Return the meaning of a failure in `TABLE`; None for a programming error, such as a syntax error in SQL."""
    code = code_of(failure)
    family = "_".join(code.split("_")[:2])  # SQLITE_BUSY of SQLITE_BUSY_SNAPSHOT
    known = next((MEANINGS[part] for part in (code, family, code[:3], code[:2]) if part in MEANINGS), None)
    return known or ("lost" if getattr(failure, "connection_invalidated", False) else None)


def may_be_committed(failure: Exception) -> bool:
    """Return whether a COMMIT that failed with this exception may have taken effect nevertheless.

    This is so if the connection was lost before the answer, or if SQLite could not write.
    """
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
"""Codes that both a mistake in operation (a missing table, missing rights) and a programming error have."""


def code_by_message(code: str, message: str) -> str:
    """Decide by the message what one of the `UNCERTAIN` codes means.

    Returns the code of a missing table, column or right; for an error in the statement, a code that `TABLE` lacks.
    """
    if message.startswith("no such table"):
        return UNDEFINED_TABLE
    if absent_column(message):
        return UNDEFINED_COLUMN
    return code if code == DENIED and "row-level security" not in message else f"statement: {code}"


def first_line(failure: Exception) -> str:
    """Return the message of a failure, without the SQL statement that follows it."""
    return str(failure).partition("\n")[0]
