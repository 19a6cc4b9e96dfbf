"""PostgreSQL engines: one pool for reading and writing, and the settings of its connections."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
from sqlalchemy import URL, ExceptionContext, event
from sqlalchemy.ext.asyncio import create_async_engine

from kit.auth.read_only_sessions import refuse_hidden_write
from kit.database import hosts
from kit.database.engines import Engines, Pool, name_origin
from kit.database.errors import ASYNCPG_ERRORS, POOLER_HINT, DriverFailure, meaning_of, with_origin
from kit.database.failed_transactions import refuse_failed_transactions
from kit.database.failover import FollowedPrimary
from kit.database.integer_values import round_values
from kit.database.poolers import begin_with, is_pooled, warn_of_pooler
from kit.database.statements import watch_statements
from kit.database.transaction_control import refuse_ending_texts
from kit.database.url_options import driver_options
from kit.http.fairness import FairPool

OF_PRIMARY = ("read-write", "primary")
"""The values of `target_session_attrs` that only a primary satisfies."""
OF_CONNECTIONS = ("lost", "unavailable", "again")
"""The meanings of failures that a connection may have. Others are for statements."""
READ_ONLY = "25006"
"""The SQLSTATE of a write to a server that is read-only."""
OPTION_NAME = re.compile(r"(?:^|\s)(?:-c\s*|--)((?:[\w.-]|\\.)+?)\s*=")
"""The name of a setting in the option `options` of a URL, as in `-c jit=on` and `--jit=on`."""


class RefusedConnection(asyncpg.InvalidAuthorizationSpecificationError):
    """Raised if the server refuses a connection because of an option of the URL: like a wrong password, it is a 503."""


class PostgresPool(FairPool):
    """A pool that wraps an exception of asyncpg in a `DriverFailure` if a connection fails while it is set up."""

    def raise_named(self, failure: BaseException) -> None:
        if isinstance(failure, ASYNCPG_ERRORS):
            raise DriverFailure(failure) from failure


def postgres_engines(url: URL, pool: Pool) -> Engines:
    """Return engines with one pool: the writer has transactions, the reader AUTOCOMMIT."""
    settings, has_pooler = server_settings(pool), is_pooled(url)
    url, options = driver_options(url)
    given = {"application_name": pool.application_name} | options.pop("server_settings", {})
    others = settings.keys() - names_in(given.get("options", ""))
    engine = create_async_engine(
        url,
        echo=pool.echo,
        hide_parameters=not pool.echo,
        poolclass=PostgresPool,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.timeout,
        pool_recycle=pool.recycle,
        pool_pre_ping=pool.pre_ping,
        pool_use_lifo=True,
        connect_args={
            "server_settings": given if has_pooler else {name: settings[name] for name in others} | given,
            "timeout": pool.timeout,
            "async_creator_fn": connect_to_postgres if has_pooler else opener(url, options),
            **options,
        },
    )
    watch_statements(engine.sync_engine, pool.slow_statement)
    round_values(engine.dialect)
    if has_pooler:
        begin_with(engine, settings)
    else:
        warn_of_pooler(engine)
    event.listen(engine.sync_engine, "handle_error", leave_read_only_server)
    event.listen(engine.sync_engine, "handle_error", name_origin)
    refuse_failed_transactions(engine.sync_engine)
    refuse_ending_texts(engine.sync_engine)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    event.listen(reader.sync_engine, "before_cursor_execute", refuse_hidden_write)
    return Engines(engine, reader)


def server_settings(pool: Pool) -> dict[str, str]:
    """Return the PostgreSQL settings of a connection, in milliseconds. Behind a pooler, each transaction sets them."""
    return {
        "jit": "on" if pool.jit else "off",  # compiling a plan takes longer than a short query
        "statement_timeout": str(round(pool.statement_timeout * 1000)),
        "lock_timeout": str(round(pool.lock_timeout * 1000)),
    }


def names_in(options: str) -> set[str]:
    """Return the names of the settings in the option `options`. They precede those of the pool."""
    return {name.replace("-", "_").lower() for name in OPTION_NAME.findall(options)}


def opener(url: URL, options: Mapping[str, Any]) -> Callable[..., Awaitable[Any]]:
    """Return the function that opens connections. For a primary among several hosts it is a `FollowedPrimary`."""
    wants_primary = options.get("target_session_attrs") in OF_PRIMARY
    return FollowedPrimary(connect_to_postgres) if wants_primary and hosts.several_hosts(url) else connect_to_postgres


async def connect_to_postgres(*values: Any, **options: Any) -> Any:
    """Return a connection of asyncpg to one of the hosts.

    Raises `Unreachable` in place of an OSError, and `RefusedConnection` in place of an error that would look like that
    of a statement.
    """
    try:
        return await hosts.connect(*values, **options)
    except asyncpg.ProtocolViolationError as failure:
        if "startup parameter" not in str(failure):
            raise
        hint = f"{failure} ({POOLER_HINT})"
        raise asyncpg.ProtocolViolationError(hint) from failure
    except OSError as failure:
        raise with_origin(failure) or failure from failure
    except ASYNCPG_ERRORS as failure:
        if meaning_of(DriverFailure(failure)) in OF_CONNECTIONS:
            raise
        hint = f"{failure} (the server refuses the connection: see the options in DATABASE_URL)"
        raise RefusedConnection(hint) from failure


def leave_read_only_server(context: ExceptionContext) -> None:
    """Invalidate the pool if the server has become a standby: new connections may reach the new primary.

    Listens to `handle_error`.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
