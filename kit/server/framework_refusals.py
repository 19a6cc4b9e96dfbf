"""Framework refusals: replaces plain responses of FastAPI and Starlette by problems.

These are FastAPI's 413 for a body larger than `max_body_size`, an argument of an application or of `include_router`,
and Starlette's 400 and 416 for a range that a file does not have.
"""

from starlette.types import Message, Scope

from kit.http.problems import Problem, render, too_large

TOO_LARGE, MALFORMED, UNSATISFIABLE = 413, 400, 416
TEXTS = {
    TOO_LARGE: {b"Content Too Large"},
    MALFORMED: {
        b"Malformed range header.",
        b"Only support bytes range",
        b"Range header: range must be requested",
        b"Range header: start must be less than end",
    },
    UNSATISFIABLE: {b""},
}
"""The bodies of these responses by status."""
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
OF_RANGE = b"content-range"
REPLACED = {b"content-length", PLAIN[0]}


def may_be_refusal(start: Message) -> bool:
    """Return whether a response may be the framework's, by its headers. Its body has to be compared too."""
    headers = start["headers"]
    lengths = {str(len(text)).encode() for text in TEXTS[start["status"]]}
    is_of_range = start["status"] != UNSATISFIABLE or any(name == OF_RANGE for name, _ in headers)
    return PLAIN in headers and is_of_range and any((b"content-length", length) in headers for length in lengths)


def as_problem(scope: Scope, start: Message, body: Message) -> tuple[Message, Message]:
    """Return the start and the body of the problem; if the response is not the framework's, the given ones."""
    if body.get("body", b"") not in TEXTS[start["status"]]:
        return start, body
    response = render(scope, problem_of(start["status"]))
    kept = [header for header in start["headers"] if header[0] not in REPLACED]
    return {**start, "headers": [*kept, *response.raw_headers]}, {**body, "body": response.body}


def problem_of(status: int) -> Problem:
    if status == TOO_LARGE:
        return too_large()
    if status == UNSATISFIABLE:
        return Problem(status, "The file has no such range; see Content-Range.", kind="range-not-satisfiable")
    return Problem(status, "The header Range is not valid (RFC 9110, section 14.2).", kind="malformed-range")
