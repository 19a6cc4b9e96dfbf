"""Commands for the database: `python commands.py shell`, `db`, `seed`, `backup` and `restore`."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

from sqlmodel import col, func, select

import main
from kit.auth.owners import entities
from kit.commands import postgresql_backup, sqlite_backup
from kit.commands.checksums import Sums
from kit.commands.clients import open_client
from kit.commands.errors import CommandFailedError
from kit.commands.seeding import seed
from kit.commands.shell import run_shell
from settings import NAME, Settings, load

ROWS = re.compile(r"[1-9][0-9]{0,8}")
"""A number of rows of a resource: below a thousand million."""
SEEDING = {"demo_data": False, "require_auth": False, "request_timeout": 600, "user_rate": 0, "address_rate": 0}
"""The settings of the service whose operations `seed` calls: without tokens, rates and demo data."""


def shell(settings: Settings) -> None:
    """Open a Python prompt that has a session and the tables of all resources."""
    tables = {kind.__name__: kind for kind in entities() if kind.__module__.startswith(f"{NAME}.")}
    run_shell(settings.database, {**tables, "select": select, "func": func, "col": col})


def fill(settings: Settings, rows: str = "1000") -> None:
    """Create this number of random rows of each resource, and print how many were created. In development only."""
    if not ROWS.fullmatch(rows):
        raise CommandFailedError(f"ROWS={rows} is not a number of rows: write ROWS=1000.")
    if not settings.in_development:
        raise CommandFailedError("Rows are made up in development only: leave out ENVIRONMENT=production.")
    app = main.create_app(settings.model_copy(update=SEEDING))
    created = asyncio.run(seed(app, int(rows)))
    sys.stdout.write("".join(f"{number:>10,} {name}\n" for name, number in created.items()))


def backup(settings: Settings, file: str = "") -> None:
    """Write a backup of the database to a file, and print the number of its rows."""
    path, url = given(file), settings.database
    sums = (
        sqlite_backup.backup(url, path)
        if url.get_backend_name() == "sqlite"
        else asyncio.run(postgresql_backup.backup(url, path))
    )
    sys.stdout.write(f"{path} has {counted(sums)}.\n")


def restore(settings: Settings, file: str = "") -> None:
    """Replace the contents of the database by a backup, and print the number of rows."""
    path, url = given(file), settings.database
    if not path.is_file():
        raise CommandFailedError(f"There is no file {path}.")
    sums = (
        sqlite_backup.restore(url, path)
        if url.get_backend_name() == "sqlite"
        else asyncio.run(postgresql_backup.restore(url, path))
    )
    sys.stdout.write(f"Restored and compared: {counted(sums)}.\n")


def given(file: str) -> Path:
    if not file:
        raise CommandFailedError("Write the file, as in FILE=backup.db.")
    return Path(file)


def counted(sums: Sums) -> str:
    tables = [rows for name, (rows, _) in sums.items() if not name.startswith("sequence ")]
    return f"{sum(tables):,} rows of {len(tables)} tables"


COMMANDS: dict[str, Callable[..., None]] = {
    "shell": shell,
    "db": lambda settings: open_client(settings.database),
    "seed": fill,
    "backup": backup,
    "restore": restore,
}


def run(name: str = "", *arguments: str) -> str | None:
    """Run a command. Returns an error message, or None on success."""
    if name not in COMMANDS:
        return f"Write one of {', '.join(COMMANDS)}."
    logging.disable(logging.INFO)
    try:
        COMMANDS[name](load(), *arguments)
    except CommandFailedError as failure:
        return str(failure)
    return None


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
