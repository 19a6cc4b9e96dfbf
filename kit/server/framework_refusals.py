"""Framework refusals: replaces FastAPI's plain 413 for a body larger than `max_body_size` by a problem.

`max_body_size` is an argument of an application, or of `include_router`.
"""

from starlette.types import Message, Scope

from kit.http.problems import render, too_large

TOO_LARGE = 413
HEADERS = {(b"content-length", b"17"), (b"content-type", b"text/plain; charset=utf-8")}
TEXT = b"Content Too Large"


def may_be_refusal(start: Message) -> bool:
    """Return whether a 413 may be FastAPI's, by its headers. Its body has to be compared too."""
    return set(start["headers"]) >= HEADERS


def as_problem(scope: Scope, start: Message, body: Message) -> tuple[Message, Message]:
    """Return the start and the body of the problem; if the response is not FastAPI's, the given ones."""
    if body.get("body") != TEXT:
        return start, body
    response = render(scope, too_large())
    kept = [header for header in start["headers"] if header not in HEADERS]
    return {**start, "headers": [*kept, *response.raw_headers]}, {**body, "body": response.body}
