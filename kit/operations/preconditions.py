"""Preconditions: `If-Match` and `If-None-Match` of requests that write (RFC 9110, section 13.1)."""

import re
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response
from starlette.types import Scope

from kit.database.error_responses import problem_of
from kit.http.etags import TAG, version_in
from kit.http.problems import TAKEN, Problem, error, invalid
from kit.http.request_headers import headers
from kit.models.entities import Stamped

Versioned = TypeVar("Versioned", bound=Stamped)
TAGS = re.compile(rf"[\s,]*{TAG.pattern}(\s*,[\s,]*{TAG.pattern})*[\s,]*")
"""A list of entity tags; empty elements are ignored (RFC 9110, section 5.6.1)."""
ANY = "*"
CONDITIONS = frozenset({b"if-match", b"if-none-match", b"content-range"})
"""The request headers that an operation that writes must not ignore."""


def condition(scope: Scope, name: str) -> str | None:
    """Return the value of a precondition header: `*`, or a list of entity tags; None if it is absent.

    Repeated headers are joined (RFC 9110, section 5.3). Raises a 422 if the value is malformed.
    """
    lines = headers(scope, name.lower().encode())
    if not lines:
        return None
    given = ", ".join(lines).strip()
    if given != ANY and not TAGS.fullmatch(given):
        raise invalid([error("header", name, 'Expected "…" entity tags or *', "etag_parsing")])
    return given


def matches(given: str, row: Stamped) -> bool:
    """Return whether a condition is `*`, or contains an entity tag with the version of a row, strong or weak."""
    return given == ANY or any(version_in(tag) == str(row.version) for _, tag in TAG.findall(given))


def refuse_ignored(without_conditions: Container[int], scope: Scope, header_map: Mapping[bytes, bytes]) -> None:
    """Raise a problem for a request with a header of `CONDITIONS` that its operation would ignore.

    A PUT with `Content-Range` is a 400: it would replace the whole row by a part (RFC 9110, section 14.5). A
    precondition is a 422 if the route is in `without_conditions`: the method must not be performed if it does not hold.
    """
    if b"content-range" in header_map and scope["method"] == "PUT":
        raise Problem(400, "A PUT replaces the whole resource: leave Content-Range out.", kind="partial-put")
    if id(scope["route"]) in without_conditions:
        for name in ("If-Match", *(("If-None-Match",) if scope["method"] != "POST" else ())):
            if name.lower().encode() in header_map:
                detail = "This operation checks no precondition: leave the header out"
                raise invalid([error("header", name, detail, "precondition_unsupported")])


class Precondition:
    """Checks the preconditions of a request. `precondition(row)` returns the row, or raises a 412.

    A row satisfies them if `If-Match` is absent or matches it, and `If-None-Match` is absent or does not. The weak tag
    of a version (`W/"2"`, from a compressed response) matches too. A malformed header is a 422.
    """

    def __init__(self, request: Request) -> None:
        self.wanted = condition(request.scope, "If-Match")
        self.unwanted = condition(request.scope, "If-None-Match")

    def __call__(self, row: Versioned) -> Versioned:
        if self.wanted is not None and not matches(self.wanted, row):
            raise Problem(412, "The resource has another version now.", kind="version-mismatch")
        if self.unwanted is not None and matches(self.unwanted, row):
            raise existing()
        return row


def existing(detail: str = "The resource already exists.") -> Problem:
    """Return the 412 for a row that should not exist."""
    return Problem(412, detail, kind="exists")


async def created_only(scope: Scope, attempt: Callable[[], Awaitable[Response]]) -> Response:
    """Return the response of `attempt`, which serves a POST with `If-None-Match`.

    With `*`, it is a 412 instead of a 409 if another row has a unique value of the new one: the row exists. Entity tags
    have no effect, because a new row has no version yet.
    """
    if condition(scope, "If-None-Match") != ANY:
        return await attempt()
    try:
        response = await attempt()
    except Exception as failure:
        problem = failure if isinstance(failure, Problem) else problem_of(failure)
        if problem is None or problem.kind != TAKEN:
            raise
        raise existing(f"The resource already exists: {problem.detail}") from failure
    if response.status_code == 409 and f"urn:problem:{TAKEN}".encode() in response.body:  # replayed by idempotency
        raise existing()
    return response


async def precondition_of(request: Request) -> Precondition:  # async, so that FastAPI does not call it in a thread
    return Precondition(request)


IfMatch = Annotated[Precondition, Depends(precondition_of)]
"""The dependency of handlers that change a row: `matching(row)` returns the row, or raises a 412."""
