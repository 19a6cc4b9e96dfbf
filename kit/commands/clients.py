"""Database clients: starts `sqlite3` or `psql`; PostgreSQL's programs get the database by environment variables."""

import os
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from kit.commands.errors import CommandFailedError
from kit.database.url_options import driver_options

PACKAGES = {"sqlite3": "sqlite3", "psql": "postgresql-client", "pg_dump": "postgresql-client"}


def program(name: str) -> str:
    """Return the path of a client. Raises a CommandFailedError if it is not installed."""
    path = shutil.which(name)
    if path is None:
        package = PACKAGES.get(name, "postgresql-client")
        raise CommandFailedError(f"{name} is missing; on Debian: apt install {package}")
    return path


def environment_of(url: URL) -> dict[str, str]:
    """Return the environment of this process with libpq's variables of a database, such as PGHOST and PGPASSWORD.

    Other users of the machine can see the arguments of a process, so the password is not passed by one.
    """
    _, arguments = url.get_dialect()().create_connect_args(driver_options(url)[0])
    given = {
        "PGHOST": listed(arguments.get("host")),
        "PGPORT": listed(arguments.get("port")),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        "PGSSLMODE": url.query.get("sslmode"),
        "PGSSLROOTCERT": url.query.get("sslrootcert"),
        "PGSSLCERT": url.query.get("sslcert"),
        "PGSSLKEY": url.query.get("sslkey"),
        "PGOPTIONS": url.query.get("options"),
        "PGTARGETSESSIONATTRS": driver_options(url)[1].get("target_session_attrs"),
    }
    return {**os.environ, **{name: str(value) for name, value in given.items() if value}}


def listed(value: Any) -> Any:
    """Return a list as text separated by commas, as libpq expects it, and another value unchanged."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def file_of(url: URL) -> Path:
    """Return the file of a SQLite database. Raises a CommandFailedError if it is in memory or does not exist."""
    if not url.database or url.database == ":memory:":
        raise CommandFailedError("The database is in memory, where no other process can reach it.")
    path = Path(url.database)
    if not path.is_file():
        raise CommandFailedError(f"There is no database {path}: run `make migrate`.")
    return path


def open_client(url: URL) -> None:
    """Replace this process by `sqlite3` or `psql` on this database."""
    if url.get_backend_name() == "sqlite":
        file = file_of(url)
        os.execv(program("sqlite3"), ["sqlite3", "-cmd", "PRAGMA foreign_keys = ON", str(file)])  # noqa: S606  no shell
    os.execve(program("psql"), ["psql"], environment_of(url))  # noqa: S606  no shell
