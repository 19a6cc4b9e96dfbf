"""Hosts: connects to one of several servers of PostgreSQL, as libpq does, but without waiting for one that hangs."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
from sqlalchemy import URL

HOST_SECONDS = 1.0
"""The longest time for a connection to one of several hosts, unless the URL has the option `connect_timeout`."""
PASSES = {"prefer-standby": ("standby", "any")}
"""The options of `target_session_attrs` that need more than one pass over the hosts."""
NOT_THIS_HOST = (
    OSError,  # also TimeoutError
    asyncpg.CannotConnectNowError,  # it starts or stops
    asyncpg.ConnectionDoesNotExistError,  # it has closed the connection
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.TooManyConnectionsError,
)
"""The failures after which the next host is tried. After others, such as a wrong password, that is useless."""
OF_SQLALCHEMY = ("prepared_statement_cache_size", "prepared_statement_name_func")
"""Options of SQLAlchemy's driver, which asyncpg does not have."""


def several_hosts(url: URL) -> bool:
    """Return whether a URL names more than one host."""
    host: Any = url.query.get("host", ())
    return "," in host if isinstance(host, str) else len(host) > 1


async def connect(*values: Any, **options: Any) -> Any:
    """Return a connection of asyncpg: of several hosts, to the first in random order that accepts it.

    The options are those of `asyncpg.connect`; of several hosts, `timeout` holds for each, and with `in_order` they are
    tried as they were written.
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
    """Yield the hosts to try, each with its port, and with what it has to be."""
    for part in PASSES.get(attributes, (attributes,)):
        for host, port in hosts if in_order else random.sample(hosts, len(hosts)):
            yield host, port, part


async def connect_to(url: URL, options: dict[str, Any]) -> Any:
    """Return a connection of asyncpg for what `driver_options` returns."""
    _, arguments = url.get_dialect()().create_connect_args(url)
    given: dict[str, Any] = {**arguments, **options}
    return await connect(**{name: value for name, value in given.items() if name not in OF_SQLALCHEMY})
