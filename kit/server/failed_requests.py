"""Failed requests: the problem for a request that ended with an unexpected exception, which is logged."""

import logging

from starlette.requests import ClientDisconnect

from kit.database.errors import first_line
from kit.http.problems import Problem, unavailable
from kit.server.shutdown import Shutdown

log = logging.getLogger("kit")


def problem_for(failure: BaseException, shutdown: Shutdown) -> Problem | None:
    """Return the problem for a request that ended with an exception, and log the exception.

    For a cancellation it is a 503 if the service shuts down, otherwise None.
    """
    if isinstance(failure, Exception):
        if not isinstance(failure, ClientDisconnect):
            log.error("Unexpected exception: %s: %s", type(failure).__name__, first_line(failure), exc_info=failure)
        return Problem(500, "An unexpected error occurred; see the log for this request id.", kind="internal")
    return unavailable("unknown", "The service has shut down.") if shutdown.has_begun else None
