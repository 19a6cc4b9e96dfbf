"""SQLite's file: notices that it was deleted, moved or replaced while it is open, so that no write is lost in it.

An open connection goes on writing into a file that has no name any more. So the device and inode of the file, its
write-ahead log (`-wal`) and its index (`-shm`) are compared when a connection leaves the pool, and before a COMMIT.
After a change all connections are closed before one is opened again, because SQLite's locks are those of the old files.
A file that has been opened once is not created again.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

READS_UNCHECKED_SECONDS = 0.25
"""Seconds after a check in which connections for reading are not checked."""
Identity = tuple[int, int] | None


class SQLiteFile:
    """The file of one database, and the number of its open connections."""

    def __init__(self, path: str, close_all: Callable[[], None]) -> None:
        self.path, self.close_all = str(Path(path).resolve()), close_all
        self.known: list[Identity] = [None, None, None]
        """The device and inode of the file, its log and its index; None if they have not existed yet."""
        self.open = self.generation = 0
        """The number of open connections; it is another generation after each change of the files."""
        self.checked_at = 0.0

    def identities(self) -> list[Identity]:
        return [identity_of(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm")]

    def has_changed(self) -> bool:
        """Return whether a file that has existed does not exist any more, or is another one."""
        self.checked_at = time.monotonic()
        found = self.identities()
        if any(before not in (None, now) for before, now in zip(self.known, found, strict=True)):
            return True
        self.known = found
        return False

    def check(self) -> None:
        """Raise SQLite's error for a file that cannot be opened, if the file has changed."""
        if self.has_changed():
            raise cannot_open("the database file was deleted, moved or replaced")

    def before_connecting(self, *_: object) -> None:
        """Refuse to create the file again, or to open it while connections to the former file are open."""
        if self.known[0] is None:
            sqlite3.connect(self.path).close()  # the driver's thread would log a failure
        elif not Path(self.path).exists():
            raise cannot_open("the database file was deleted or moved")
        elif self.open == 0:
            self.known = [None, None, None]
        else:
            self.check()

    def connected(self, _: object, record: Any) -> None:
        self.open += 1
        record.info["file"], record.info["generation"] = self, self.generation
        self.has_changed()

    def closed(self, _: object, record: Any) -> None:
        if record.info.pop("file", None) is not None:
            self.open -= 1

    def checked_out(self, *_: object) -> None:
        """Check the file for a connection that leaves the pool. Closes all others if it has changed."""
        if self.has_changed():
            self.generation += 1
            self.close_all()
            raise cannot_open("the database file was deleted, moved or replaced")

    def checked_out_for_reading(self, *_: object) -> None:
        if time.monotonic() > self.checked_at + READS_UNCHECKED_SECONDS:
            self.checked_out()

    def checked_in(self, connection: object, record: Any) -> None:
        """Close a connection to the former file."""
        if connection is not None and record.info.get("generation") != self.generation:
            record.invalidate()


def identity_of(path: str) -> Identity:
    try:
        found = os.stat(path)  # noqa: PTH116  a quarter of the time of `Path.stat`
    except OSError:
        return None
    return found.st_dev, found.st_ino


def cannot_open(message: str) -> sqlite3.OperationalError:
    failure = sqlite3.OperationalError(message)
    failure.sqlite_errorname = "SQLITE_CANTOPEN"
    return failure
