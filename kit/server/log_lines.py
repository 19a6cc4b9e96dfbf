"""Log lines: JSON for programs, or text for people, each with the id of the request."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, which every log line contains."""
LOGGED_FIELDS = ("method", "route", "status", "duration_ms")


class JSONLines(logging.Formatter):
    """One JSON object per line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name}
        line |= {name: record.__dict__[name] for name in LOGGED_FIELDS if name in record.__dict__}
        if "method" not in line:
            line["message"] = record.getMessage()
        if REQUEST_ID.get():
            line["request_id"] = REQUEST_ID.get()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """Text lines for people, with the first 8 characters of the request id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        return super().formatMessage(record) + (f"  [{request_id[:8]}]" if (request_id := REQUEST_ID.get()) else "")


def configure_logging(*, as_json: bool, level: str) -> None:
    """Configure one handler for the loggers `kit` and `uvicorn`, without uvicorn's access log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONLines() if as_json else TextLines())
    for name in ("kit", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], name == "uvicorn.error"
    for name in ("kit", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("kit").setLevel(level)
