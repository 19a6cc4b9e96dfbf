"""Options of database URLs: the supported names, their valid values, and the arguments of the driver for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL

from kit.database.hosts import HOST_SECONDS, several_hosts
from kit.database.poolers import OPTION, WITHOUT_STATE, is_pooled

NUMBERS = (
    "statement_cache_size",
    "prepared_statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
    "connect_timeout",
)
"""Options whose values must be integers: sizes in bytes or statements, times in seconds."""
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "servicefile")
"""Options whose values must be paths of files."""
OF_SERVER = ("application_name", "options", "client_encoding")
"""Options that are passed on as settings of the server for the connection (asyncpg's `server_settings`)."""
CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1.2", "TLSv1.3"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
    OPTION: ("true", "false"),
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "keepalives": ("1",),
    "load_balance_hosts": ("disable", "random"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
WITHOUT_EFFECT = ("channel_binding", "gssencmode", "keepalives", "sslcompression", "sslsni")
"""Options that are checked and then ignored: the only values that are accepted ask for the default behaviour."""
OF_DSN = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslpassword",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "krbsrvname",
    "gsslib",
    "passfile",
    "service",
)
"""Options that asyncpg accepts only in a URL (`dsn`), not as arguments."""
OF_URL = ("host", "port", "user", "password", "servicefile")
"""Options that stay in the URL, because SQLAlchemy passes them to asyncpg."""
KNOWN = sorted({*NUMBERS, *FILES, *OF_SERVER, *CHOICES, *OF_DSN, *OF_URL} - set(WITHOUT_EFFECT))
SEVERAL = ("host", "port")
"""Options that may be repeated, once for each server."""
INSTEAD = {
    "fallback_application_name": "write application_name",
    "timeout": "write connect_timeout, or set LOCK_TIMEOUT for a lock",
    "command_timeout": "set STATEMENT_TIMEOUT",
    "statement_timeout": "set STATEMENT_TIMEOUT",
    "lock_timeout": "set LOCK_TIMEOUT",
    "connection_limit": "set POOL_SIZE",
    "pool_size": "set POOL_SIZE",
    "pool_timeout": "set POOL_TIMEOUT",
    "schema": "write options=-csearch_path%3Dname",
    "search_path": "write options=-csearch_path%3Dname",
    "server_settings": "write options=-cname%3Dvalue",
    "hostaddr": "write the address as the host",
    "dbname": "write the database after the host: postgresql://host/database",
    "database": "write the database after the host: postgresql://host/database",
}
"""The advice in the error message for an unsupported option."""


def refuse_option(name: str, value: Any, known: list[str]) -> None:
    """Raise a ValueError for an option that is not in `known`, is repeated, or has an invalid value.

    `known` is `KNOWN` for PostgreSQL; it is empty for SQLite, whose URLs have no options.
    """
    if name == "channel_binding" and value == "require":
        raise ValueError("has the option 'channel_binding=require', which the driver does not have: write "
                         "sslmode=verify-full instead, which proves the server's identity too")  # fmt: skip
    if name not in known and not (known and name in WITHOUT_EFFECT):
        instead = INSTEAD.get(name, f"remove it; known are {', '.join(known)}" if known else "remove it")
        raise ValueError(f"has the option {name!r}, which is not supported: {instead}")
    if not isinstance(value, str):
        if name not in SEVERAL:
            raise ValueError(f"has the option {name!r} more than once")
    elif rule := broken_rule(name, value):
        raise ValueError(f"has the option {name!r}, which must be {rule}")


def broken_rule(name: str, value: str) -> str | None:
    """Return what the value of an option must be, such as `a whole number`, if it is not; None if it is valid."""
    if name in NUMBERS and (not value.isdecimal() or (name == "connect_timeout" and int(value) < 1)):
        return "a whole number"
    if name in CHOICES and value not in CHOICES[name]:
        return f"one of {', '.join(CHOICES[name])}"
    if name in FILES and not Path(value).is_file() and (name, value) != ("sslrootcert", "system"):
        return "the name of a file"
    return None


def driver_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the URL with only the options in `OF_URL`, and asyncpg's arguments for the other options."""
    query: Mapping[str, Any] = url.query
    arguments: dict[str, Any] = {name: int(query[name]) for name in NUMBERS if name in query}
    if "connect_timeout" in arguments:
        arguments["timeout"] = arguments.pop("connect_timeout")
    if several_hosts(url):
        arguments = {"timeout": HOST_SECONDS, "target_session_attrs": "read-write", **arguments}
        arguments["in_order"] = query.get("load_balance_hosts") == "disable"
    if "target_session_attrs" in query:
        arguments["target_session_attrs"] = query["target_session_attrs"]
    if dsn := {name: query[name] for name in OF_DSN if name in query}:
        arguments["dsn"] = f"postgresql://?{urlencode(dsn)}"
    if settings := {name: query[name] for name in OF_SERVER if name in query}:
        arguments["server_settings"] = settings
    kept = {name: value for name, value in query.items() if name in OF_URL}
    return url.set(query=kept), {**arguments, **(WITHOUT_STATE if is_pooled(url) else {})}
