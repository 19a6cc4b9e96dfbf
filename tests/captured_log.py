"""Captured logs: everything that some loggers write, with values and tracebacks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class CapturedLog(logging.Handler):
    """The text of all records."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(message)s %(args)s"))
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@contextmanager
def capturing(*names: str, level: int) -> Iterator[CapturedLog]:
    """Capture these loggers during the block, from this level on."""
    captured, loggers = CapturedLog(), [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(captured)
        logger.setLevel(level)
    try:
        yield captured
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.removeHandler(captured)
            logger.setLevel(before)
