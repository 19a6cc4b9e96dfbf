"""SQLite's file: detects that the open file was deleted, moved or replaced, so that no write is lost.

An open connection would go on writing into the deleted file. Therefore the device and inode of the file, its
write-ahead log (`-wal`) and its shared memory (`-shm`) are compared before each COMMIT, and before some reads. After a
change, all connections are closed before a new one is opened, because the open ones hold locks on the old files. A
deleted file is not created again.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kit.database.errors import DriverFailure

READS_UNCHECKED_SECONDS = 0.5
"""The number of seconds after a check in which reads do without one."""
Identity = tuple[int, int]


class SQLiteFile:
    """The file of one database, and the number of its open connections."""

    def __init__(self, path: str, close_all: Callable[[], None]) -> None:
        self.path, self.close_all = str(Path(path).resolve()), close_all
        self.known: dict[str, Identity] = {}
        """The device and inode by path, of the file, its log and its shared memory, as far as they exist."""
        self.open = 0
        """The number of open connections."""
        self.due = 0.0
        """When the next check before a read is due (`time.monotonic`)."""

    def has_changed(self) -> bool:
        """Return whether one of the three files was deleted or replaced since the last check."""
        self.due = time.monotonic() + READS_UNCHECKED_SECONDS
        for path in (self.path, f"{self.path}-wal", f"{self.path}-shm"):
            found = identity_of(path)
            if self.known.get(path, found) != found:
                return True
            if found is not None:
                self.known[path] = found
        return False

    def check(self, *_: object) -> None:
        """Close all connections and raise a DriverFailure (SQLITE_CANTOPEN) if the file has changed."""
        if self.has_changed():
            self.close_all()
            raise DriverFailure(cannot_open("the database file was deleted, moved or replaced"))

    def check_if_due(self, *_: object) -> None:
        if time.monotonic() > self.due:
            self.check()

    def before_connecting(self, *_: object) -> None:
        """Raise SQLITE_CANTOPEN instead of creating a deleted file, or opening a new one in addition to the former.

        Listens to `do_connect`.
        """
        if not self.known:
            sqlite3.connect(self.path).close()  # fails here, without a log line of aiosqlite's thread
        elif not Path(self.path).exists():
            raise cannot_open("the database file was deleted or moved")
        elif self.open == 0:
            self.known = {}
        elif self.has_changed():
            raise cannot_open("the database file was replaced, and the former one is still open")

    def connected(self, _: object, record: Any) -> None:
        self.open += 1
        record.info["file"] = self
        self.has_changed()

    def closed(self, _: object, record: Any) -> None:
        self.open -= record.info.pop("file", None) is not None  # it is missing if the connection failed


def identity_of(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116  a quarter of the time of `Path.stat`
    except OSError:
        return None
    return found.st_dev, found.st_ino


def cannot_open(message: str) -> sqlite3.OperationalError:
    failure = sqlite3.OperationalError(message)
    failure.sqlite_errorname = "SQLITE_CANTOPEN"
    return failure
