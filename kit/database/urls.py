"""Database URLs: parses and checks them before the first connection, in the forms that libpq and hosters use.

Each option either has its effect as in libpq, or is refused with a message that says what to write instead. Only
options that ask for the default behaviour are ignored.
"""

import configparser
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from kit.database.url_options import KNOWN, refuse_option

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
SEVERAL_HOSTS = re.compile(r"(?P<start>\w[\w+]*://(?:.*@)?)(?P<hosts>[^/?@]+,[^/?@]+)(?P<end>(?:[/?].*)?)")
FORM = "write it as in postgresql://user:password@host:5432/name, and in the password %40 for @, %3A for :, %25 for %"
PORT = 5432
"""The default port of a host."""
SOCKET = ("/", "@")
"""The first characters of the path of a Unix socket, and of an abstract one."""
SYSTEM_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""The file of certificate authorities on Debian and others."""


def parsed(text: str) -> URL:
    """Return the checked URL of a setting. Raises a ValueError whose message does not contain the URL."""
    several = SEVERAL_HOSTS.fullmatch(text)
    try:
        url = make_url(several["start"] + several["end"] if several else text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a database URL: {FORM}") from None
    if several:
        url = url.update_query_dict({"host": list(map(with_port, several["hosts"].split(",")))}, append=True)
    url = usable(url)
    refuse_absent_folder(url)
    return url


def refuse_absent_folder(url: URL) -> None:
    """Raise a ValueError if a SQLite file is a folder, or if its folder does not exist."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    file = Path(url.database)
    if not file.parent.is_dir():
        raise ValueError(f"has a file in the folder {file.parent}, which does not exist: create it")
    if file.is_dir():
        raise ValueError(f"has the folder {file} instead of a file: write a file in it, as in {file}/service.db")


def refuse_in_memory(url: URL) -> None:
    """Raise a ValueError for a SQLite database in memory: migrations and other commands would have one of their own."""
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("is a database in memory, which nobody can migrate: write a file, as in sqlite:///service.db")


def refuse_missing_files(query: Mapping[str, Any]) -> None:
    """Raise a ValueError if the certificate authorities, or the service, that an option needs are not defined."""
    if str(query.get("sslmode")).startswith("verify") and not has_authorities(query):
        raise ValueError(f"has sslmode={query['sslmode']}, which needs sslrootcert: a file, or `system`")
    if "service" in query:
        refuse_unknown_service(query)


def refuse_unknown_service(query: Mapping[str, Any]) -> None:
    """Raise a ValueError if the file of services does not define the option `service`, where libpq fails, too."""
    file = query.get("servicefile") or os.environ.get("PGSERVICEFILE") or Path("~/.pg_service.conf").expanduser()
    services = configparser.ConfigParser(interpolation=None)
    try:
        services.read(file)
    except (configparser.Error, UnicodeDecodeError):
        raise ValueError(f"has the option 'service', but {file} is not a file of services") from None
    if query["service"] not in services:
        raise ValueError(f"has the option 'service', but {file} has no definition of this service: add it there")


def with_port(host: str) -> str:
    """Return `host:port`, with the default port if there is none."""
    return host if re.search(r":\d+$", host) else f"{host}:{PORT}"


def usable(url: URL) -> URL:
    """Return the URL with its asynchronous driver, after a check of its options.

    Raises a ValueError whose message does not contain the URL.
    """
    if url.drivername not in DRIVERS:
        raise ValueError("must start with sqlite:// or postgresql://")
    query = {"sslmode" if name == "ssl" else name: value for name, value in url.query.items()}
    if len(query) < len(url.query):
        raise ValueError("has the option 'sslmode' more than once")
    url = usable_host(url.set(drivername=DRIVERS[url.drivername], query=query))
    is_sqlite = url.get_backend_name() == "sqlite"
    for name, value in query.items():
        refuse_option(name, value, [] if is_sqlite else KNOWN)
    refuse_missing_files(query)
    if query.get("sslrootcert") == "system":
        url = url.update_query_dict({"sslrootcert": certificates_of_system()})
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
    except ArgumentError as failure:
        raise ValueError(f"cannot be used: {str(failure).partition(chr(10))[0]}") from None
    refuse_impossible(as_list(arguments.get("host")), as_list(arguments.get("port")))
    return url


def as_list(value: Any) -> list[Any]:
    """Return the value of an argument of the driver as a list: it is one if there are several hosts."""
    return value if isinstance(value, list) else [] if value is None else [value]


def refuse_impossible(hosts: list[str], ports: list[int]) -> None:
    """Raise a ValueError for a host name or a port that cannot exist."""
    if any(not 0 < port < 2**16 for port in ports):
        raise ValueError("has a port that does not exist: write one from 1 to 65535")
    try:
        _ = [host.encode("idna") for host in hosts if not host.startswith(SOCKET)]
    except UnicodeError:
        raise ValueError("has a host that no name can have: write it as in db.example.com") from None


def usable_host(url: URL) -> URL:
    """Check the host, and move the folder of a Unix socket in it (`%2Frun%2Fpostgresql`) to the option `host`.

    Raises a ValueError.
    """
    if url.get_backend_name() == "sqlite" and (url.host or url.username or url.port):
        raise ValueError("has a host, but SQLite has none: write three slashes, as in sqlite:///file.db")
    if url.host and "@" in url.host:
        raise ValueError("has an @ before the host: write %40 for an @ in the password")
    if url.host and unquote(url.host).startswith("/"):
        url = url.update_query_dict({"host": unquote(url.host)})
        url = url.set(host="").set(query=url.query)
    return url


def has_authorities(query: Mapping[str, Any]) -> bool:
    """Return whether certificate authorities are configured, by the URL, PGSSLROOTCERT or libpq's default file."""
    usual = Path("~/.postgresql/root.crt").expanduser()
    return "sslrootcert" in query or "PGSSLROOTCERT" in os.environ or usual.is_file()


def certificates_of_system() -> str:
    """Return the file of the operating system's certificate authorities. Raises a ValueError if there is none."""
    paths = ssl.get_default_verify_paths()
    found = [path for path in (paths.cafile, paths.openssl_cafile, SYSTEM_FILE) if path and Path(path).is_file()]
    if not found:
        raise ValueError("has the option 'sslrootcert=system', but no authorities are installed: write a file")
    return found[0]
