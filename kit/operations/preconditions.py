"""Preconditions: `If-Match` and `If-None-Match` of requests that change something (RFC 9110, section 13.1)."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response
from starlette.types import Scope

from kit.database.error_responses import problem_of
from kit.http.etags import TAG
from kit.http.problems import TAKEN, Problem, error, invalid
from kit.http.request_headers import headers
from kit.models.entities import Stamped

Versioned = TypeVar("Versioned", bound=Stamped)
TAGS = re.compile(rf"\s*{TAG.pattern}(\s*,\s*{TAG.pattern})*\s*")
ANY = "*"


def condition(scope: Scope, name: str) -> str | None:
    """Return `*`, or the entity tags of a precondition; None if it is absent. Raises a 422 if it is malformed.

    Several lines are one list (RFC 9110, section 5.3).
    """
    lines = headers(scope, name.lower().encode())
    if not lines:
        return None
    given = ", ".join(lines).strip()
    if given != ANY and not TAGS.fullmatch(given):
        raise invalid([error("header", name, 'Expected "…" entity tags or *', "etag_parsing")])
    return given


def matches(given: str, row: Stamped) -> bool:
    """Return whether a condition is `*`, or has the tag of a row's version, or the weak form of this tag."""
    return given == ANY or any(tag == str(row.version) for _, tag in TAG.findall(given))


class Precondition:
    """Returns a row if `If-Match` is absent or matches it, and `If-None-Match` does not. Raises a 412 otherwise.

    Raises a 422 for a malformed header. The weak tag of a version (`W/"2"`, of a compressed response) matches too.
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
    """Return the response of an attempt to create rows with `If-None-Match`.

    With `*` it is a 412, instead of a 409, if another row has a unique value of a new one, because that row is then the
    one that should not exist. Tags match no row that does not exist yet.
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
    if response.status_code == 409 and f"urn:problem:{TAKEN}".encode() in response.body:  # stored with its key
        raise existing()
    return response


async def precondition_of(request: Request) -> Precondition:  # async, so that FastAPI does not call it in a thread
    return Precondition(request)


IfMatch = Annotated[Precondition, Depends(precondition_of)]
"""For handlers that change a row: `matching(row)` returns the row if its version matches `If-Match`."""
