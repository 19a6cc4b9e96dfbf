"""Log lines: in JSON or as text, each with the id of the request."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from kit.server.log_writer import LogWriter, SentResponse, register

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, for log lines; None outside of requests."""
CURRENT_TRACE: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The trace id of the current request, for log lines; None without one."""
RESPONSE_FIELDS = ("method", "route", "status", "duration_ms", "bytes", "caller")
LOGGED_FIELDS = (*RESPONSE_FIELDS, "statement")
MAX_OPERATIONS = 1000
NO_LEVELS: Mapping[str, str] = {}
OWN_LOGGERS = ("kit", "uvicorn", "uvicorn.error", "uvicorn.access")


class JSONLines(logging.Formatter):
    """Formats a record as a line with a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name}
        line |= {name: record.__dict__[name] for name in LOGGED_FIELDS if name in record.__dict__}
        if "method" not in line:
            line["message"] = record.getMessage()
        line |= {name: value for name, value in ids().items() if value}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Formats a record as a line of text, with the first 8 characters of the request id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        return super().formatMessage(record) + (f"  [{request_id[:8]}]" if (request_id := REQUEST_ID.get()) else "")


def ids() -> dict[str, str | None]:
    return {"request_id": REQUEST_ID.get(), "trace_id": CURRENT_TRACE.get()}


def json_line() -> Callable[[SentResponse], str]:
    """Return a function that makes the same line for a response as `JSONLines`, in a tenth of the time."""
    second, stamp = 0, ""

    def line_of(sent: SentResponse) -> str:
        nonlocal second, stamp
        moment, method, route, status, seconds, size, caller, request_id, trace_id = sent
        now = int(moment)
        if now != second:
            second, stamp = now, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        trace = f', "trace_id": {quoted(trace_id)}' if trace_id else ""
        return (
            f'{{"time": "{stamp}.{int((moment - now) * 1000):03d}Z", {operation(method, route)}, "status": {status}, '
            f'"duration_ms": {seconds * 1000:.1f}, "bytes": {size}, "caller": {"null" if caller is None else caller}, '
            f'"request_id": {quoted(request_id)}{trace}}}\n'
        )

    return line_of


@lru_cache(MAX_OPERATIONS)
def operation(method: str, route: str | None) -> str:
    """Return the part of a JSON line that is the same for all requests of an operation."""
    return (
        f'"level": "INFO", "logger": "kit", "method": {quoted(method)}, "route": {quoted(route) if route else "null"}'
    )


def text_line(sent: SentResponse) -> str:
    """Return the same line for a response as `TextLines`."""
    moment, _, _, _, _, _, _, request_id, _ = sent
    return f"{time.strftime('%H:%M:%S', time.localtime(moment))} INFO    {summary(sent)}  [{request_id[:8]}]\n"


def summary(sent: SentResponse) -> str:
    """Return a summary of a response, such as `GET /invoices/{invoice_id} 200 1.2 ms`."""
    _, method, route, status, seconds, *_ = sent
    return f"{method} {route or '-'} {status or '-'} {round(seconds * 1000, 1)} ms"


def fields_of(sent: SentResponse) -> dict[str, Any]:
    """Return the `extra` fields of the log record of a response."""
    _, method, route, status, seconds, size, caller, *_ = sent
    return dict(zip(RESPONSE_FIELDS, (method, route, status, round(seconds * 1000, 1), size, caller), strict=True))


def configure_logging(*, as_json: bool, level: str, levels: Mapping[str, str] = NO_LEVELS) -> LogWriter:
    """Configure one handler for the loggers `kit` and `uvicorn`, without uvicorn's access log, and return it.

    `level` is that of `kit`. `levels` are those of further loggers by name, such as `sqlalchemy.engine`, which get the
    same handler.
    """
    writer = LogWriter(sys.stdout, JSONLines() if as_json else TextLines(), json_line() if as_json else text_line)
    register(writer)
    for name in OWN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], name == "uvicorn.error"
    for name in ("kit", "uvicorn"):
        writer.serve(logging.getLogger(name))
    logging.getLogger("kit").setLevel(level)
    for name in sorted(levels):  # parents before children, which then need no handler
        logger = logging.getLogger(name)
        logger.setLevel(levels[name])
        if not logger.hasHandlers():
            writer.serve(logger)
    return writer
