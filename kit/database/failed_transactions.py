"""Failed transactions: refuses the COMMIT of a transaction in which a statement has failed, unless it was undone.

PostgreSQL would answer such a COMMIT with a ROLLBACK and no error, and SQLite would commit the other statements. A
ROLLBACK to a savepoint undoes a failed statement.
"""

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, PendingRollbackError

FAILED = "kit.has_failed"
"""The key in `Connection.info` that is set after a failed statement, until it was undone."""


def refuse_failed_commits(engine: Engine) -> None:
    """Refuse the COMMIT of a transaction with a failed statement on the connections of an engine."""
    event.listen(engine, "handle_error", note_failure)
    event.listen(engine, "commit", refuse_failed)
    for name in ("begin", "rollback", "rollback_savepoint"):
        event.listen(engine, name, forget)


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
            "stored: write `async with session.begin_nested():` around the statement, or call `session.rollback()`."
        )


def forget(connection: Connection, *_: object) -> bool:
    """Forget a failed statement, and return whether there was one. A lost connection would connect again for `info`."""
    return not connection.invalidated and bool(connection.info.pop(FAILED, False))
