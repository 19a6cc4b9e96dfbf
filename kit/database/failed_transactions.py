"""Failed transactions: refuses what follows a failed statement in its transaction, unless that was undone.

PostgreSQL refuses further statements, and answers the COMMIT with a ROLLBACK and no error. SQLite would execute them,
and commit. Here both are refused on both. A ROLLBACK to a savepoint undoes a failed statement.
"""

import re
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, PendingRollbackError

FAILED = "kit.has_failed"
"""The key in `Connection.info` that is set after a failed statement, until it was undone."""
REMEDY = "write `async with session.begin_nested():` around the statement, or call `session.rollback()`."


UNDOING = re.compile(r"\s*ROLLBACK(\s+(WORK|TRANSACTION))?\s+TO\b", re.IGNORECASE)
"""The beginning of a statement that returns to a savepoint."""


class AbortedTransaction(Exception):  # noqa: N818  named as the error of PostgreSQL
    """The cause of a DBAPIError for a statement after a failed one, with the SQLSTATE of PostgreSQL."""

    sqlstate = "25P02"


def refuse_failed_transactions(engine: Engine) -> None:
    """Refuse the statements and the COMMIT after a failed statement on the connections of an engine."""
    event.listen(engine, "handle_error", note_failure)
    event.listen(engine, "before_cursor_execute", refuse_further)
    event.listen(engine, "commit", refuse_failed)
    for name in ("begin", "rollback", "rollback_savepoint"):
        event.listen(engine, name, forget)


def refuse_further(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
    """Raise a DBAPIError after a failed statement, unless this one undoes it. Listens to `before_cursor_execute`."""
    if connection.info.get(FAILED) and not (UNDOING.match(statement) and forget(connection)):
        failure = AbortedTransaction(f"A statement of this transaction has failed before this one: {REMEDY}")
        raise DBAPIError(statement, parameters, failure, hide_parameters=True)


def note_failure(context: ExceptionContext) -> None:
    """Note a statement that the database has refused; not one that was not sent, as a lazy load. For `handle_error`."""
    connection, is_refused = context.connection, isinstance(context.sqlalchemy_exception, DBAPIError)
    if context.statement is None or connection is None or not is_refused or connection.invalidated:
        return
    connection.info[FAILED] = not is_autocommit(connection)


def is_autocommit(connection: Connection) -> bool:
    """Return whether each statement is a transaction, as on the connections of a `ReadSession`."""
    options = connection.get_execution_options()
    return options.get("isolation_level") == "AUTOCOMMIT" or bool(options.get("reading"))


def refuse_failed(connection: Connection) -> None:
    """Roll back, and raise a PendingRollbackError, if a statement has failed. Listens to `commit`."""
    if forget(connection):
        connection.connection.rollback()  # SQLAlchemy takes the transaction for ended
        raise PendingRollbackError(
            "A statement of this transaction has failed, and the handler has caught its exception, so nothing is "
            f"stored: {REMEDY}"
        )


def forget(connection: Connection, *_: object) -> bool:
    """Forget a failed statement, and return whether there was one. A lost connection would connect again for `info`."""
    return not connection.invalidated and bool(connection.info.pop(FAILED, False))
