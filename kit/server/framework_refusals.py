"""Framework refusals: FastAPI's plain response to a body larger than `max_body_size`, and the problem in its place.

`max_body_size` is an argument of an application, or of `include_router`.
"""

from starlette.types import Message, Scope

from kit.http.problems import render, too_large

TOO_LARGE = 413
HEADERS = {(b"content-length", b"17"), (b"content-type", b"text/plain; charset=utf-8")}
TEXT = b"Content Too Large"


def may_be_refusal(start: Message) -> bool:
    """Return whether a 413 with this start may be FastAPI's; its body decides."""
    return set(start["headers"]) >= HEADERS


def as_problem(scope: Scope, start: Message, body: Message) -> tuple[Message, Message]:
    """Return the start and the body of the problem, or those that were given, if the response is not FastAPI's."""
    if body.get("body") != TEXT:
        return start, body
    response = render(scope, too_large())
    kept = [header for header in start["headers"] if header not in HEADERS]
    return {**start, "headers": [*kept, *response.raw_headers]}, {**body, "body": response.body}
