"""Backup and restore of SQLite by its online backup API, which is safe while the service runs."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from kit.commands.checksums import differences, sqlite_sums
from kit.commands.clients import file_of
from kit.commands.errors import CommandFailedError, explained
from kit.commands.files import refuse_database, refuse_unusable, users_of
from kit.commands.progress import Progress

PAGES = 1000
"""The number of pages that are copied at once. Between two copies, other processes can write."""
LOCK_SECONDS = 10.0
"""The longest wait for another process that has locked the database."""
LOCKED = """{} is locked by another process{}. Nothing was restored.
End its transaction, or stop it, and run the command again."""


def backup(url: URL, file: Path) -> dict[str, tuple[int, str]]:
    """Write a copy of the database to `file`. Returns the number of rows and the checksum of each table.

    Raises a CommandFailedError if there is no database, if the file cannot be written, or if the copy is damaged.
    """
    source, part = file_of(url), file.with_name(f"{file.name}.part")
    refuse_unusable(file, url)
    try:
        with explained(f"{file} was not written"):
            part.unlink(missing_ok=True)
            copy(source, part, "backup")
            with closing(sqlite3.connect(part)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")  # one file, without a separate log
                check(connection)
                sums = sqlite_sums(connection)
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return sums


def restore(url: URL, file: Path) -> dict[str, tuple[int, str]]:
    """Replace the database by a backup, and compare each table. The service may run: it sees the rows of the backup.

    Returns the number of rows and the checksum of each table. Raises a CommandFailedError if they differ, if one of the
    files is damaged, if the backup is empty, or if another process keeps the database locked.
    """
    if not url.database or url.database == ":memory:":
        raise CommandFailedError("The database is in memory, where nothing can be restored.")
    refuse_database(file, url)
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        check(connection)
        expected = sqlite_sums(connection)
    if not expected:
        raise CommandFailedError(f"{file} has no tables: it is not a backup. Nothing was restored.")
    target = Path(url.database)
    with explained(f"{target} was not restored"):
        copy(file, target, "restore")
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            check(connection)
            if wrong := differences(expected, sqlite_sums(connection)):
                raise CommandFailedError(f"The restored database differs from the backup: {'; '.join(wrong)}.")
    return expected


class Steps:
    """The steps of a copy: shows the progress, and ends the copy if a lock stops it for `LOCK_SECONDS`."""

    def __init__(self, name: str, target: Path) -> None:
        self.progress, self.target = Progress(name, 0), target
        self.last, self.since = (-1, -1), 0.0

    def note(self, _: int, remaining: int, total: int) -> None:
        """Note what remains after a step. Raises a CommandFailedError that names the processes that use the target."""
        now = time.monotonic()
        if (remaining, total) != self.last:
            self.last, self.since = (remaining, total), now
        if now - self.since > LOCK_SECONDS:
            raise CommandFailedError(LOCKED.format(self.target, users_of(self.target)))
        self.progress.total = total
        self.progress.to(total - remaining)


def copy(source: Path, target: Path, name: str) -> None:
    """Copy a database. Raises a CommandFailedError if another process has locked the target.

    The source is read in one transaction: otherwise each write of another process would start the copy anew.
    """
    with (
        closing(sqlite3.connect(source, timeout=LOCK_SECONDS, isolation_level=None)) as old,
        closing(sqlite3.connect(target, timeout=0)) as new,
    ):
        steps = Steps(name, target)
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM sqlite_master").fetchone()
        old.backup(new, pages=PAGES, progress=steps.note)
        steps.progress.end()


def check(connection: sqlite3.Connection) -> None:
    """Raise a CommandFailedError if the file is damaged, or not a SQLite database."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as failure:
        raise CommandFailedError(f"The file is not a SQLite database: {failure}.") from None
    if found != "ok":
        raise CommandFailedError(f"The file is damaged: {found}.")
