"""Failed requests: the problem for a request that ended with an unexpected exception, which is logged."""

import logging
import re

from sqlalchemy.exc import MissingGreenlet
from starlette.requests import ClientDisconnect

from kit.database.errors import first_line
from kit.http.problems import Problem, unavailable
from kit.server.shutdown import Shutdown

log = logging.getLogger("kit")
NOT_LOADED = re.compile(r"'(\w+\.(\w+))' is not available due to lazy='raise")
"""The message of SQLAlchemy for a relationship that was not loaded."""
NEVER_LAZY = (
    "An async session loads nothing when an attribute is read, nor when a list of related rows is changed or replaced: "
    "load it before, by `selectinload` in the query, or by `await session.refresh(row, [name])`."
)
"""The hint for a load that SQLAlchemy has tried by itself."""


def problem_for(failure: BaseException, shutdown: Shutdown) -> Problem | None:
    """Return the problem for a request that ended with an exception, and log the exception.

    For a cancellation it is a 503 if the service shuts down, otherwise None.
    """
    if isinstance(failure, Exception):
        if not isinstance(failure, ClientDisconnect):
            log.error("Unexpected exception: %s: %s", type(failure).__name__, first_line(failure), exc_info=failure)
            log_hints(failure)
        return internal_error()
    return unavailable("unknown", "The service has shut down.") if shutdown.has_begun else None


def log_hints(failure: Exception) -> None:
    """Log what to write instead, if the failure is an access to a value that was not loaded."""
    for relationship, name in dict.fromkeys(NOT_LOADED.findall(str(failure))):
        log.error('%s was not loaded: add `.options(selectinload(%s))` to the query, call '
                  '`await session.refresh(row, ["%s"])`, or leave %s out of the response model.',
                  relationship, relationship, name, name)  # fmt: skip
    if isinstance(getattr(failure, "orig", failure), MissingGreenlet):
        log.error(NEVER_LAZY)


def internal_error() -> Problem:
    """Return the 500 for an unexpected exception, without internal details. The log has its traceback."""
    return Problem(500, "An unexpected error occurred; see the log for this request id.", kind="internal")
