"""Log writer: writes log lines to a stream, in a server by a thread of its own, which takes them in batches.

    stopped: each line is written at once        --start--> idle
    idle: the thread waits for a line            --line--> busy
    busy: the thread writes what has collected, then sleeps for INTERVAL_SECONDS --nothing has collected--> idle
    idle or busy                                 --stop--> stopped, when all lines are written

A request costs its log line one append to a queue; the thread makes the text. While the stream blocks, the queue has
`MAX_PENDING` lines at most: the lines after them are dropped, and their number is logged when the stream goes on.
"""

import atexit
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from kit.http.events import COUNTS

INTERVAL_SECONDS = 0.05
"""The time between two batches. A process that is killed by SIGKILL loses the lines of so many seconds."""
MAX_PENDING = 20_000
"""The largest number of lines in the queue."""
MAX_CHARACTERS = 16 * 2**20
"""The largest number of characters of the texts in the queue."""
STOP_SECONDS = 5.0
"""The longest time that `stop` waits for a stream that blocks."""
DROPPED = "log_lines", "dropped"
SentResponse = tuple[float, str, str | None, int, float, int, int | None, str, str | None]
"""A response: the moment (seconds since 1970), method, route, status, duration in seconds, bytes of the body, id of the
user, request id, trace id."""


class LogWriter(logging.Handler):
    """Writes records, and responses, which `text_of` makes lines of."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, text_of: Callable[[SentResponse], str]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.stream, self.own_formatter, self.text_of = stream, formatter, text_of
        self.descriptor: int | None = None
        """The file of the stream, which the thread writes to: Python cannot exit while a thread holds a stream."""
        self.pending: deque[str | SentResponse] = deque()
        self.served: list[logging.Logger] = []
        self.characters = 0
        """The length of the texts in the queue."""
        self.is_idle, self.is_stuck = True, False
        """`is_stuck`: the stream still blocked when the writer was stopped, so that no line is written any more."""
        self.reported = COUNTS[DROPPED]
        self.thread: threading.Thread | None = None
        self.wake, self.stopping = threading.Event(), threading.Event()

    def serve(self, logger: logging.Logger) -> None:
        """Write the records of a logger, until another writer is configured."""
        logger.addHandler(self)
        self.served.append(logger)

    def leave(self) -> None:
        """Write what is left, and no record from now on."""
        self.stop()
        for logger in self.served:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or put it into the queue."""
        try:
            line = self.format(record) + "\n"
        except Exception:  # as in the standard library: arguments that do not fit the message end no request
            self.handleError(record)
            return
        if self.thread is None:
            self.write(line)
        elif len(self.pending) < MAX_PENDING and self.characters + len(line) <= MAX_CHARACTERS:
            self.characters += len(line)
            self.pending.append(line)
            if self.is_idle:
                self.wake.set()
        else:
            COUNTS[DROPPED] += 1

    def write(self, text: str) -> None:
        """Write lines at once. A stream that is closed, or full, is no reason to fail."""
        if self.is_stuck:
            COUNTS[DROPPED] += text.count("\n")
            return
        with suppress(OSError, ValueError):
            if self.descriptor is None:
                self.stream.write(text)
                self.stream.flush()
            else:
                write_all(self.descriptor, text.encode(errors="backslashreplace"))

    def start(self) -> None:
        """Write by a thread from now on."""
        if self.thread is None and not self.is_stuck:
            self.descriptor = descriptor_of(self.stream)
            self.stopping.clear()
            self.thread = threading.Thread(target=self.run, name="log writer", daemon=True)
            self.thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Write all lines, for at most `STOP_SECONDS`, and write each at once from now on."""
        if self.thread is not None:
            self.stopping.set()
            self.wake.set()
            self.thread.join(STOP_SECONDS)
            self.is_stuck, self.thread = self.thread.is_alive(), None
            atexit.unregister(self.stop)

    def run(self) -> None:
        while not self.stopping.is_set():
            self.is_idle = True
            if not self.pending:  # a line that arrived before the writer was idle has waked nobody
                self.wake.wait()
            self.is_idle = False
            self.wake.clear()
            self.write_pending()
            self.stopping.wait(INTERVAL_SECONDS)
        self.write_pending()

    def write_pending(self) -> None:
        """Write the lines that are in the queue now, and how many were dropped."""
        taken = [self.pending.popleft() for _ in range(len(self.pending))]
        lines = [line if isinstance(line, str) else self.text_of(line) for line in taken]
        self.characters -= sum(len(line) for line in taken if isinstance(line, str))
        dropped = int(COUNTS[DROPPED] - self.reported)
        self.reported += dropped
        if dropped:
            message = f"{dropped} log lines were dropped: the output blocked."
            record = logging.LogRecord("kit", logging.WARNING, "", 0, message, None, None)
            lines.append(self.format(record) + "\n")
        if lines:
            self.write("".join(lines))

    def forget_thread(self) -> None:
        """Write without a thread in a process that was forked: it has none, and the lines are those of its parent."""
        self.thread, self.pending, self.characters = None, deque(), 0
        self.wake, self.stopping = threading.Event(), threading.Event()


def descriptor_of(stream: TextIO) -> int | None:
    """Return the file descriptor of a stream, which is flushed; None if it has none, as in tests."""
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
        return stream.fileno()
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write these bytes to a file, which may be in non-blocking mode."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


writers: list[LogWriter] = []
"""The writer that was configured last, in a list that the hook of `fork` finds."""


def forget_threads() -> None:
    for writer in writers:
        writer.forget_thread()


def register(writer: LogWriter) -> None:
    """Make this the writer of the process."""
    for other in writers:
        other.leave()
    writers[:] = [writer]


def start() -> None:
    """Write by a thread from now on, in the process of a server."""
    for writer in writers:
        writer.start()


def stop() -> None:
    """Write all lines, and write each at once from now on."""
    for writer in writers:
        writer.stop()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=forget_threads)  # Windows has none
