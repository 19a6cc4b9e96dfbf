"""Refusals of request heads: the responses, as bytes, to requests that do not reach the application."""

import logging
import random
import time
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.types import Scope

from kit.http.events import COUNTS
from kit.http.problems import Problem, phrase, render
from kit.http.request_headers import Header
from kit.server.log_writer import SentResponse
from kit.server.request_log import ACCEPTABLE_ID, ID_HEADER, log_response
from kit.server.security_headers import ALWAYS
from kit.server.trace_context import TRACE_HEADER, trace_id_of

log = logging.getLogger("kit")


class Refusal(NamedTuple):
    """A reason to refuse a request head: the status of the response, and the detail of its problem."""

    status: HTTPStatus
    detail: str


MALFORMED = Refusal(HTTPStatus.BAD_REQUEST, "The request is not HTTP (RFC 9112).")
HOST = Refusal(
    HTTPStatus.BAD_REQUEST, "The request has to name one valid host, in its Host and in its target (RFC 9112)."
)
FRAMING = Refusal(
    HTTPStatus.BAD_REQUEST, "A Transfer-Encoding has to be `chunked`, once, in a request of HTTP/1.1 (RFC 9112)."
)
CODING = Refusal(HTTPStatus.NOT_IMPLEMENTED, "The server knows no other Transfer-Encoding than `chunked`.")
METHOD = Refusal(HTTPStatus.NOT_IMPLEMENTED, "The server does not know the method of the request.")
VERSION = Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "The server knows HTTP/1.0 and HTTP/1.1 only.")
SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "The head of the request has to arrive within 10 seconds.")
LONG_TARGET = Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "The target of the request is too long.")
LARGE_HEAD = Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too many or too large.")


def refuse(refused: Refusal, scope: Scope, path: bytes, defaults: Iterable[Header]) -> bytes:
    """Return the bytes of the response with a problem (RFC 9457), and log the response.

    `scope` has what is known of the request, with the method `-` if it has not been read. `path` is empty if it is not
    known: as a relative reference, an empty `instance` is the target of the request, whatever it is. `defaults` are the
    server's own headers, such as `Date`.
    """
    COUNTS["refused", "head"] += 1
    status, kind = int(refused.status), phrase(refused.status).lower().replace(" ", "-")
    state = {**ids_of(scope["headers"]), **scope["state"]}
    known = unquote(scope["root_path"] + path.decode("latin-1")) if path else ""
    whole = {**scope, "path": known, "raw_path": path, "state": state}
    problem = render(whole, Problem(status, refused.detail, kind=kind))
    own = (ID_HEADER, state["request_id"].encode()), *ALWAYS, (b"connection", b"close")
    headers = [*((name.lower(), value) for name, value in defaults), *problem.raw_headers, *own]
    head = b"HTTP/1.1 %d %b\r\n" % (status, phrase(status).encode())
    body = b"" if scope["method"] == "HEAD" else bytes(problem.body)
    note(scope["method"], status, len(body), state)
    return head + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body


def ids_of(headers: Sequence[Header]) -> dict[str, str]:
    """Return the request id, the caller's if it is acceptable, and the trace id if the request has one."""
    request_id = dict(headers).get(ID_HEADER, b"").decode("latin-1")
    if not ACCEPTABLE_ID.fullmatch(request_id):
        request_id = f"{random.getrandbits(128):032x}"
    trace_id = trace_id_of([value for name, value in headers if name == TRACE_HEADER])
    return {"request_id": request_id} | ({"trace_id": trace_id} if trace_id else {})


def note(method: str, status: int, size: int, state: dict[str, Any]) -> None:
    """Log a refusal as other responses, in a context of its own: connections share theirs with their requests."""
    sent: SentResponse = time.time(), method, None, status, 0.0, size, None, state["request_id"], state.get("trace_id")
    if log.isEnabledFor(logging.INFO):
        copy_context().run(log_response, sent)
