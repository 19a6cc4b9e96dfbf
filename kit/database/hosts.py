"""Hosts: connects to one of several PostgreSQL servers, as libpq does, with a timeout for each server."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
from sqlalchemy import URL

HOST_SECONDS = 1.0
"""The timeout for connecting to one of several hosts, unless the URL has the option `connect_timeout`."""
PASSES = {"prefer-standby": ("standby", "any")}
"""The values of `target_session_attrs` with more than one pass over the hosts, with the value for each pass."""
NOT_THIS_HOST = (
    OSError,  # also TimeoutError
    asyncpg.CannotConnectNowError,  # it starts or stops
    asyncpg.ConnectionDoesNotExistError,  # it has closed the connection
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.TooManyConnectionsError,
)
"""The failures after which the next host is tried. Others, such as a wrong password, are the same on every host."""
OF_SQLALCHEMY = ("prepared_statement_cache_size", "prepared_statement_name_func")
"""Options of SQLAlchemy's dialect that asyncpg does not have."""


def several_hosts(url: URL) -> bool:
    """Return whether a URL names more than one host."""
    host: Any = url.query.get("host", ())
    return "," in host if isinstance(host, str) else len(host) > 1


async def connect(*values: Any, **options: Any) -> Any:
    """Return a connection of asyncpg. With a list of hosts, it tries one after the other.

    The options are those of `asyncpg.connect`. With a list of hosts, `timeout` (seconds) applies to each of them; the
    order is random, or that of the list with `in_order`. Raises the failure of the last host.
    """
    if not isinstance(options.get("host"), list):
        return await asyncpg.connect(*values, **options)
    hosts, in_order = list(zip(options.pop("host"), options.pop("port"), strict=True)), options.pop("in_order", False)
    last: Exception | None = None
    for host, port, attributes in attempts(hosts, options.pop("target_session_attrs", "any"), in_order=in_order):
        try:
            return await asyncpg.connect(*values, host=host, port=port, target_session_attrs=attributes, **options)
        except NOT_THIS_HOST as failure:
            last = failure
    assert last is not None
    raise last


def attempts(hosts: Sequence[tuple[str, int]], attributes: str, *, in_order: bool) -> Iterator[tuple[str, int, Any]]:
    """Yield the hosts to try, each with its port and with the value of `target_session_attrs` that it must satisfy."""
    for part in PASSES.get(attributes, (attributes,)):
        for host, port in hosts if in_order else random.sample(hosts, len(hosts)):
            yield host, port, part


async def connect_to(url: URL, options: dict[str, Any]) -> Any:
    """Return a connection of asyncpg, for the URL and the options that `driver_options` returned."""
    _, arguments = url.get_dialect()().create_connect_args(url)
    given: dict[str, Any] = {**arguments, **options}
    return await connect(**{name: value for name, value in given.items() if name not in OF_SQLALCHEMY})
