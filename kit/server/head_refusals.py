"""Refusals of request heads: the responses, as bytes, to requests that do not reach the application."""

import http
import json
import random

from kit.http.events import COUNTS
from kit.http.problems import phrase
from kit.server.security_headers import ALWAYS

DETAILS = {
    http.HTTPStatus.BAD_REQUEST: "The request is not HTTP (RFC 9112), or its host is not clear.",
    http.HTTPStatus.REQUEST_TIMEOUT: "The head of the request has to arrive within 10 seconds.",
    http.HTTPStatus.REQUEST_URI_TOO_LONG: "The target of the request is too long.",
    http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are too many or too large.",
}


def refusal(status: http.HTTPStatus) -> bytes:
    """Return the bytes of the response with a problem (RFC 9457) for one of the statuses in `DETAILS`."""
    COUNTS["refused", "head"] += 1
    request_id, title = f"{random.getrandbits(128):032x}", phrase(status)
    problem = {"type": f"urn:problem:{title.lower().replace(' ', '-')}", "title": title, "status": int(status)}
    problem |= {"detail": DETAILS[status], "request_id": request_id}
    body = json.dumps(problem, separators=(",", ":")).encode()
    head = [
        f"HTTP/1.1 {int(status)} {title}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        *(f"{name.decode()}: {value.decode()}" for name, value in ALWAYS),
        "connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
