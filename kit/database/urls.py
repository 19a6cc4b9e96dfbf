"""Database URLs: refuses those that could not work, and options that would be ignored, before the first connection."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError

from kit.database.poolers import OPTION, WITHOUT_STATE, is_pooled

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
NUMBERS = (
    "statement_cache_size",
    "prepared_statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
)
"""Options of PostgreSQL that are whole numbers."""
TEXTS = ("host", "port", "user", "password", "passfile", "krbsrvname", "gsslib", "service", "servicefile")
CHOICES = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
    OPTION: ("true", "false"),
}
SEVERAL = ("host", "port")
"""Options that may be given several times, for several servers."""
INSTEAD = {
    "application_name": "set APPLICATION_NAME",
    "connect_timeout": "set POOL_TIMEOUT",
    "timeout": "set POOL_TIMEOUT, or LOCK_TIMEOUT for a lock",
    "command_timeout": "set STATEMENT_TIMEOUT",
    "statement_timeout": "set STATEMENT_TIMEOUT",
    "lock_timeout": "set LOCK_TIMEOUT",
    "options": "use ALTER ROLE … SET in PostgreSQL",
    "server_settings": "use ALTER ROLE … SET in PostgreSQL",
    "dbname": "write the database after the host: postgresql://host/database",
    "database": "write the database after the host: postgresql://host/database",
}
"""What to do instead of an option."""


def usable(url: URL) -> URL:
    """Return the URL with its asynchronous driver. Raises a ValueError with a sentence that does not show the URL.

    libpq's `sslmode` becomes asyncpg's `ssl`.
    """
    if url.drivername not in DRIVERS:
        raise ValueError("must start with sqlite:// or postgresql://")
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    url = url.set(drivername=DRIVERS[url.drivername], query=query)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and (url.host or url.username or url.port):
        raise ValueError("has a host, but SQLite has none: write three slashes, as in sqlite:///file.db")
    for name, value in query.items():
        refuse_option(name, value, () if is_sqlite else (*TEXTS, *NUMBERS, *CHOICES))
    try:
        url.get_dialect()().create_connect_args(url)
    except ArgumentError as failure:
        raise ValueError(f"cannot be used: {str(failure).partition(chr(10))[0]}") from None
    return url


def refuse_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise a ValueError for an option that would have no effect, or whose value is invalid."""
    if name not in known:
        instead = INSTEAD.get(name, f"remove it; known are {', '.join(sorted(known))}" if known else "remove it")
        raise ValueError(f"has the option {name!r}, which is not supported: {instead}")
    if not isinstance(value, str):
        if name not in SEVERAL:
            raise ValueError(f"has the option {name!r} more than once")
    elif name in NUMBERS and not value.isdecimal():
        raise ValueError(f"has the option {name!r}, which must be a whole number")
    elif name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"has the option {name!r}, which must be one of {', '.join(CHOICES[name])}")


def driver_options(url: URL) -> tuple[URL, Mapping[str, Any]]:
    """Return the URL without its options that are no texts, and the arguments of the driver for them."""
    numbers = {name: int(str(value)) for name, value in url.query.items() if name in NUMBERS}
    arguments = WITHOUT_STATE if is_pooled(url) else numbers
    return url.difference_update_query([*numbers, OPTION]), arguments
