"""Servers: splits the setting for standbys into one URL for each PostgreSQL server."""

import re
from collections.abc import Iterator

from sqlalchemy import URL

from kit.database.hosts import HOST_SECONDS, several_hosts
from kit.database.poolers import is_pooled
from kit.database.urls import PORT, parsed

SEPARATOR = re.compile(r"\s+|,\s*(?=postgres(?:ql)?(?:\+asyncpg)?://)")
"""The separators of URLs: white space, or a comma before a scheme. Other commas separate the hosts of a URL."""


def standby_urls(text: str) -> list[URL]:
    """Return a URL for each standby in the setting. Raises a ValueError whose message does not contain the URLs."""
    urls = [each for part in SEPARATOR.split(text.strip()) if part for each in each_server(standby_url(part))]
    if len({name_of(url) for url in urls}) < len(urls):
        raise ValueError("names a standby twice")
    return urls


def standby_url(text: str) -> URL:
    """Return the checked URL of one or more standbys. Raises a ValueError."""
    url = parsed(text)
    if url.get_backend_name() == "sqlite":
        raise ValueError("must start with postgresql://")
    if is_pooled(url):
        raise ValueError("must lead to the standbys themselves, not to PgBouncer: what a standby has is known for each")
    if url.query.get("target_session_attrs") in ("read-write", "primary"):
        raise ValueError("has the option 'target_session_attrs', which must be any, standby, read-only or left out")
    return url


def each_server(url: URL) -> Iterator[URL]:
    """Yield a URL for each host of a URL, with a `connect_timeout` of `HOST_SECONDS` unless it has one."""
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": f"{HOST_SECONDS:.0f}"})
    if not several_hosts(url):
        yield url
        return
    rest = {name: value for name, value in url.query.items() if name not in ("host", "load_balance_hosts")}
    _, arguments = url.get_dialect()().create_connect_args(url.set(query={"host": url.query["host"]}))
    for host, port in zip(arguments["host"], arguments["port"], strict=True):
        yield url.set(host=host, port=port, query=rest)


def name_of(url: URL) -> str:
    """Return `host:port` of a URL, as the name of the server in logs and metrics."""
    return f"{url.host or url.query.get('host') or 'localhost'}:{url.port or PORT}"
