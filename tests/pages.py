"""A log that is kept: whatever is in it, somebody may read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Pages(logging.Handler):
    """Everything that is logged, with values and tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(message)s %(args)s"))
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@contextmanager
def keeping(*names: str, level: int) -> Iterator[Pages]:
    """What these loggers say in the block, from this level on."""
    pages, loggers = Pages(), [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(pages)
        logger.setLevel(level)
    try:
        yield pages
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.removeHandler(pages)
            logger.setLevel(before)
