"""Log writer: a logging handler that, in a server, writes lines to a stream by a separate thread, in batches.

    stopped: each line is written at once        --start--> idle
    idle: the thread waits for a line            --line--> busy
    busy: the thread writes what has collected, then sleeps for INTERVAL_SECONDS --nothing has collected--> idle
    idle or busy                                 --stop--> stopped, when all lines are written

A request only appends its response to a queue; the thread makes the text. While the stream blocks, lines beyond
`MAX_PENDING` or `MAX_CHARACTERS` are dropped, and their number is logged when the stream accepts data again.
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
"""The pause between two batches. A process that is killed by SIGKILL loses the lines of this time."""
MAX_PENDING = 20_000
"""The maximum number of lines in the queue."""
MAX_CHARACTERS = 16 * 2**20
"""The maximum number of characters of the texts in the queue."""
STOP_SECONDS = 5.0
"""The maximum time that `stop` waits for a stream that blocks."""
DROPPED = "log_lines", "dropped"
SentResponse = tuple[float, str, str | None, int, float, int, int | None, str, str | None]
"""A response that was sent: Unix time, method, route, status, duration in seconds, size of the body in bytes, user id,
request id, trace id."""


class LogWriter(logging.Handler):
    """The handler. `text_of` makes the line of a response in the queue."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, text_of: Callable[[SentResponse], str]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.stream, self.own_formatter, self.text_of = stream, formatter, text_of
        self.descriptor: int | None = None
        """The file descriptor to which the thread writes. Python could not exit while a thread blocks in the stream."""
        self.pending: deque[str | SentResponse] = deque()
        self.served: list[logging.Logger] = []
        self.characters = 0
        """The total length of the texts in the queue."""
        self.is_idle, self.is_stuck = True, False
        """`is_idle`: the thread waits for a line. `is_stuck`: the stream blocked during `stop`; nothing is written any
        more.
        """
        self.reported = COUNTS[DROPPED]
        self.thread: threading.Thread | None = None
        self.wake, self.stopping = threading.Event(), threading.Event()

    def serve(self, logger: logging.Logger) -> None:
        """Become a handler of a logger, until `leave`."""
        logger.addHandler(self)
        self.served.append(logger)

    def leave(self) -> None:
        """Write the lines in the queue, and leave all loggers."""
        self.stop()
        for logger in self.served:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; with a thread, put it into the queue, or drop it if that is full."""
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
        """Write lines at once. Errors of a stream, which may be closed or full, are ignored."""
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
        """Start the thread, if it does not run yet."""
        if self.thread is None and not self.is_stuck:
            self.descriptor = descriptor_of(self.stream)
            self.stopping.clear()
            self.thread = threading.Thread(target=self.run, name="log writer", daemon=True)
            self.thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Write all lines within `STOP_SECONDS`, and stop the thread. Later lines are written at once."""
        if self.thread is not None:
            self.stopping.set()
            self.wake.set()
            self.thread.join(STOP_SECONDS)
            self.is_stuck, self.thread = self.thread.is_alive(), None
            atexit.unregister(self.stop)

    def run(self) -> None:
        while not self.stopping.is_set():
            self.is_idle = True
            if not self.pending:  # checked after `is_idle` was set: an earlier line does not set `wake`
                self.wake.wait()
            self.is_idle = False
            self.wake.clear()
            self.write_pending()
            self.stopping.wait(INTERVAL_SECONDS)
        self.write_pending()

    def write_pending(self) -> None:
        """Write the lines in the queue, and a warning with the number of dropped lines, if any."""
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
        """Reset the thread and the queue in a forked process, which has no thread; the lines belong to its parent."""
        self.thread, self.pending, self.characters = None, deque(), 0
        self.wake, self.stopping = threading.Event(), threading.Event()


def descriptor_of(stream: TextIO) -> int | None:
    """Flush a stream, and return its file descriptor; None if it has none, as in tests."""
    with suppress(OSError, ValueError, AttributeError):
        stream.flush()
        return stream.fileno()
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes to a file descriptor, which may be in non-blocking mode."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


writers: list[LogWriter] = []
"""The writer of the process, if one was configured. It is a list so that the hook of `fork` sees changes."""


def forget_threads() -> None:
    for writer in writers:
        writer.forget_thread()


def register(writer: LogWriter) -> None:
    """Make this the writer of the process, in place of an earlier one."""
    for other in writers:
        other.leave()
    writers[:] = [writer]


def start() -> None:
    """Start the thread of the process's writer. Called at the start of a server."""
    for writer in writers:
        writer.start()


def stop() -> None:
    """Stop the thread of the process's writer, after it has written all lines."""
    for writer in writers:
        writer.stop()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=forget_threads)  # Windows has none
