"""What is happening: an id for every request, one line for every answer, and no fault without its traceback."""

import asyncio
import json
import logging
import random
import re
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.http.problems import Problem, render, unavailable
from kit.http.request_headers import header

log = logging.getLogger("heroes")
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being served: every line of the log carries it."""
REPORTED = ("method", "route", "status", "duration_ms")
ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Observe:
    """Outermost: gives the request its id, turns an unforeseen fault into a 500, and logs the answer.

    A HEAD is served as the GET without its body (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status, method = time.perf_counter(), 0, scope["method"]
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ending = [(b"connection", b"close")] if scope["app"].state.shutdown.has_begun else []
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *ending]
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(inner, receive, tell)
        except (Exception, asyncio.CancelledError) as failure:
            problem = last_word(scope, failure)
            if status or problem is None:  # the answer is under way, and can only be broken off; or nobody waits for it
                raise
            await render(scope, problem)(scope, receive, tell)
        finally:
            route = getattr(inner.get("route"), "path_format", None)
            report(method, route, status, time.perf_counter() - started)


def last_word(scope: Scope, failure: BaseException) -> Problem | None:
    """What is said of a request that came to no answer of its own: a fault, or one that was cut off by the end."""
    if isinstance(failure, Exception):
        log.exception("Unforeseen fault")
        return Problem(500, "Something went wrong; the log has it under this request id.", kind="internal")
    return unavailable("unknown", "The service has shut down.") if scope["app"].state.shutdown.has_begun else None


def request_id_of(scope: Scope) -> str:
    """The caller's `X-Request-ID`, if it is 1 to 128 characters of A-Z a-z 0-9 . _ -; else a new one."""
    given = header(scope, b"x-request-id")
    return given if given and ACCEPTABLE_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def report(method: str, route: str | None, status: int, seconds: float) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    milliseconds = round(seconds * 1000, 1)
    line = {"method": method, "route": route, "status": status, "duration_ms": milliseconds}
    log.info("%s %s %s %s ms", method, route or "-", status or "-", milliseconds, extra=line)


class JSONLines(logging.Formatter):
    """One JSON object per line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name}
        line |= {name: record.__dict__[name] for name in REPORTED if name in record.__dict__}
        if "method" not in line:
            line["message"] = record.getMessage()
        if REQUEST_ID.get():
            line["request_id"] = REQUEST_ID.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Readable(logging.Formatter):
    """One line for people, with the start of the request's id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        return super().formatMessage(record) + (f"  [{request_id[:8]}]" if (request_id := REQUEST_ID.get()) else "")


def configure_logging(*, as_json: bool, level: str) -> None:
    """One handler for this service and for uvicorn, whose own line per request ours replaces."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONLines() if as_json else Readable())
    for name in ("heroes", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], name == "uvicorn.error"
    for name in ("heroes", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("heroes").setLevel(level)
