"""PgBouncer in transaction mode: connections that keep no session state on the server between two transactions.

Each transaction of a client may run on another server connection. Therefore prepared statements have no names, and are
parsed with each execution. Settings come from the role (`make database-role`), and from `set_config(…, is_local)` in
transactions. The kit's advisory locks end with the transaction anyway.
"""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

log = logging.getLogger("kit")
OPTION = "pgbouncer"
"""The option of a database URL that says `true` for connections through PgBouncer, as in other libraries."""
LOCAL_SETTINGS = "local_settings"
"""The key in `Connection.info` of the settings with which each of its transactions begins."""
WITHOUT_STATE: Mapping[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
"""The arguments by which asyncpg and SQLAlchemy prepare statements without a name, and do not cache them."""
TIMEOUT = "SELECT current_setting('statement_timeout')"
BACKEND = "SELECT pg_backend_pid()"


def is_pooled(url: URL) -> bool:
    """Return whether the connections of a URL lead through PgBouncer in transaction mode."""
    return url.query.get(OPTION) == "true"


def pooled(url: URL) -> URL:
    """Return the URL for connections through PgBouncer in transaction mode."""
    return url.update_query_dict({OPTION: "true"})


def begin_with(engine: AsyncEngine, settings: Mapping[str, str]) -> None:
    """Let each transaction of an engine begin with these settings.

    Reads have no transaction: a warning is logged if the role has no `statement_timeout` for them.
    """
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
    """Log a warning at the first connection if it goes through a pooler: prepared statements would fail.

    For engines without `DATABASE_POOLER=transaction`.
    """

    def warn(connection: Any, _: object) -> None:
        if value_of(connection, BACKEND) != connection.driver_connection.get_server_pid():
            log.warning("There is a pooler before PostgreSQL: set DATABASE_POOLER=transaction")

    event.listen(engine.sync_engine, "first_connect", warn)


def value_of(connection: Any, statement: str) -> Any:
    """Execute a statement on a DBAPI connection, and return its single value."""
    cursor = connection.cursor()
    cursor.execute(statement)
    ((value,),) = cursor.fetchall()
    cursor.close()
    connection.rollback()
    return value
