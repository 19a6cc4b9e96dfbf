"""Files of backups: checks them before a command begins, and finds the processes that have a file open."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import URL

from kit.commands.errors import CommandFailedError


def refuse_unusable(file: Path, url: URL) -> None:
    """Raise a CommandFailedError if no file can be written at this path, or if it is the database itself."""
    if file.is_dir():
        raise CommandFailedError(f"{file} is a folder: write a file in it, as in FILE={file / 'backup.db'}.")
    if not file.parent.is_dir():
        raise CommandFailedError(f"There is no folder {file.parent}: create it, or write another FILE=.")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise CommandFailedError(f"You may not write into the folder {file.parent}: write another FILE=.")
    refuse_database(file, url)


def refuse_database(file: Path, url: URL) -> None:
    """Raise a CommandFailedError if a file is the database of SQLite to back up, or to replace."""
    if url.get_backend_name() == "sqlite" and url.database and file.resolve() == Path(url.database).resolve():
        raise CommandFailedError(f"{file} is the database itself: write the file of a backup, as in FILE=backup.db.")


def users_of(file: Path) -> str:
    """Return the other processes that have a file open, as ` (process 12: python)`; empty if none is found.

    Processes of other users are not found, nor any where there is no `/proc`.
    """
    found = [f"process {process}: {name}" for process, name in processes(file.resolve())]
    return f" ({', '.join(found)})" if found else ""


def processes(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and the name of each other process that has a file open."""
    for place in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if place.name != str(os.getpid()) and any(link.readlink() == file for link in (place / "fd").iterdir()):
                yield place.name, (place / "comm").read_text().strip()
