"""Backup and restore of SQLite by its online backup API, which is safe while the service runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from kit.commands.checksums import differences, sqlite_sums
from kit.commands.clients import file_of
from kit.commands.errors import CommandFailedError
from kit.commands.progress import Progress

PAGES = 1000
"""The number of pages that are copied at once. Between two copies, other processes can write."""
TIMEOUT_SECONDS = 60


def backup(url: URL, file: Path) -> dict[str, tuple[int, str]]:
    """Write a copy of the database to `file`. Returns the number of rows and the checksum of each table.

    Raises a CommandFailedError if there is no database, or if the copy is damaged.
    """
    source, part = file_of(url), file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    copy(source, part, "backup")
    with closing(sqlite3.connect(part)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        check(connection)
        sums = sqlite_sums(connection)
    part.replace(file)
    return sums


def restore(url: URL, file: Path) -> dict[str, tuple[int, str]]:
    """Replace the database by a backup, and compare each table. The service may run: it sees the rows of the backup.

    Returns the number of rows and the checksum of each table. Raises a CommandFailedError if they differ, or if one of
    the files is damaged.
    """
    if not url.database or url.database == ":memory:":
        raise CommandFailedError("The database is in memory, where nothing can be restored.")
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        check(connection)
        expected = sqlite_sums(connection)
    target = Path(url.database)
    copy(file, target, "restore")
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        check(connection)
        if wrong := differences(expected, sqlite_sums(connection)):
            raise CommandFailedError(f"The restored database differs from the backup: {'; '.join(wrong)}.")
    return expected


def copy(source: Path, target: Path, name: str) -> None:
    with (
        closing(sqlite3.connect(source, timeout=TIMEOUT_SECONDS)) as old,
        closing(sqlite3.connect(target, timeout=TIMEOUT_SECONDS)) as new,
    ):
        progress = Progress(name, 0)

        def note(_: int, remaining: int, total: int) -> None:
            progress.total = total
            progress.to(total - remaining)

        old.backup(new, pages=PAGES, progress=note)
        progress.end()


def check(connection: sqlite3.Connection) -> None:
    """Raise a CommandFailedError if the file is damaged, or not a SQLite database."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as failure:
        raise CommandFailedError(f"The file is no database of SQLite: {failure}.") from None
    if found != "ok":
        raise CommandFailedError(f"The file is damaged: {found}.")
