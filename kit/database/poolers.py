"""PgBouncer in transaction mode: connections that keep no state on the server between two transactions.

A client of PgBouncer has another connection of the server in each transaction. So prepared statements have no names,
and are parsed with each execution. The settings are those of the role (`make database-role`), and `SET LOCAL` in
transactions. Named locks end with the transaction anyway.
"""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

log = logging.getLogger("kit")
OPTION = "pgbouncer"
"""The option of a database URL for connections through PgBouncer, as in other libraries."""
LOCAL_SETTINGS = "local_settings"
"""The key in the `info` of a connection: the settings that each of its transactions begins with."""
WITHOUT_STATE: Mapping[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
"""The arguments of the drivers for statements without names."""
TIMEOUT = "SELECT current_setting('statement_timeout')"
BACKEND = "SELECT pg_backend_pid()"


def is_pooled(url: URL) -> bool:
    """Return whether the connections of a URL lead through PgBouncer in transaction mode."""
    return url.query.get(OPTION) == "true"


def pooled(url: URL) -> URL:
    """Return the URL for connections through PgBouncer in transaction mode."""
    return url.update_query_dict({OPTION: "true"})


def begin_with(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    """Begin each transaction of an engine with these settings. Logs a warning if the role has no timeout for reads."""
    command = text("SELECT " + ", ".join(f"set_config('{name}', :{name}, true)" for name in settings))

    def note(_: Any, record: Any) -> None:
        record.info[LOCAL_SETTINGS] = settings

    def set_local(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.execute(command, settings)

    def warn(connection: Any, _: object) -> None:
        if value_of(connection, TIMEOUT) == "0":
            log.warning("Reads have no STATEMENT_TIMEOUT behind PgBouncer: execute what `make database-role` prints")

    event.listen(engine.sync_engine, "connect", note)
    event.listen(engine.sync_engine, "begin", set_local)
    event.listen(engine.sync_engine, "first_connect", warn)


def warn_of_pooler(engine: AsyncEngine) -> None:
    """Log a warning if connections go through PgBouncer and no setting says so: prepared statements would fail."""

    def warn(connection: Any, _: object) -> None:
        if value_of(connection, BACKEND) != connection.driver_connection.get_server_pid():
            log.warning("There is a pooler before PostgreSQL: set DATABASE_POOLER=transaction")

    event.listen(engine.sync_engine, "first_connect", warn)


def value_of(connection: Any, statement: str) -> Any:
    """Return the single value of a statement, executed on a new connection of the pool."""
    cursor = connection.cursor()
    cursor.execute(statement)
    ((value,),) = cursor.fetchall()
    cursor.close()
    connection.rollback()
    return value
