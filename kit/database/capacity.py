"""Connection capacity: compares the pools of all workers with the connection limits of PostgreSQL."""

import logging

from sqlalchemy import text

from kit.database.databases import Database
from kit.database.errors import FAILURES
from kit.database.poolers import is_pooled

log = logging.getLogger("kit")
PERMITTED = text(
    "SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true)::int, 0),"
    " nullif(rolconnlimit, -1), nullif(datconnlimit, -1))"
    " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
)
"""The number of connections that the service's role may open: the least limit of server, role and database."""


async def report(database: Database, workers: int) -> None:
    """Log a warning if PostgreSQL permits fewer connections than the pools of `workers` processes may open.

    Does nothing for SQLite, behind PgBouncer, and while the database cannot be reached.
    """
    if database.is_sqlite or is_pooled(database.url):
        return
    try:
        async with database.connect() as connection:
            permitted = (await connection.execute(PERMITTED)).scalar_one()
    except FAILURES:  # `preparation` reports that the database cannot be reached
        return
    each = database.pool.size + database.pool.overflow
    if each * workers > permitted:
        log.warning(
            "%s of up to %s connections, and PostgreSQL permits %s: set POOL_SIZE=%s, or raise max_connections.",
            f"{workers} workers have pools" if workers > 1 else "The service has a pool",
            each,
            permitted,
            max(1, permitted // workers),
        )
