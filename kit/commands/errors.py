"""The error of the commands in `commands.py`, and the conversion of other errors to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from kit.database.errors import DRIVER_ERRORS, first_line


class CommandFailedError(Exception):
    """Raised if a command cannot be carried out. The message is printed, and says what to do."""


@contextmanager
def explained(attempt: str) -> Iterator[None]:
    """Raise a CommandFailedError for a failure of the file system or of a database. `attempt` says what failed."""
    try:
        yield
    except (OSError, *DRIVER_ERRORS) as failure:
        raise CommandFailedError(f"{attempt}: {first_line(failure)}") from None
