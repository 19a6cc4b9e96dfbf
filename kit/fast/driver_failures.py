"""Failures of the driver: raised by SQLAlchemy's own code, as the exceptions that a session would raise."""

from collections.abc import Sequence
from typing import Any, NoReturn

from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.pool import PoolProxiedConnection


def raise_as_sqlalchemy(
    failure: BaseException,
    engine: Engine,
    connection: PoolProxiedConnection,
    sql: str | None,
    arguments: Sequence[Any],
    wrapper: Connection | None = None,
) -> NoReturn:
    """Raise the exception of SQLAlchemy for a failure of the driver. A lost connection is invalidated.

    `wrapper` is the `Connection` of SQLAlchemy that uses the same `connection`, if any. Must run in a greenlet.
    """
    failure = _translated(failure, connection)
    is_of_database = isinstance(failure, engine.dialect.loaded_dbapi.Error)
    raising: Any = wrapper or Connection(engine, connection, _has_events=False)
    try:
        raise failure  # noqa: TRY301  SQLAlchemy reads `sys.exception()`
    except BaseException:
        raising._handle_dbapi_exception(failure, sql if is_of_database else None, tuple(arguments), None, None)
        raise AssertionError from failure  # unreachable: SQLAlchemy has raised the failure


def _translated(failure: BaseException, connection: PoolProxiedConnection) -> BaseException:
    """Return the driver's exception, translated by SQLAlchemy's adapter."""
    adapter: Any = connection.dbapi_connection
    if not isinstance(failure, Exception) or adapter is None:
        return failure
    try:
        adapter._handle_exception(failure)
    except Exception as translated:
        failure = translated
    return failure
