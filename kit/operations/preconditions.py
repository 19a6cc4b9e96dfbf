"""Preconditions: `If-Match`, so that a client changes only the version that it has seen (RFC 9110, section 13.1.1)."""

import re
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from kit.http.etags import TAG
from kit.http.problems import Problem, error, invalid
from kit.http.request_headers import header, headers
from kit.models.entities import Stamped

Versioned = TypeVar("Versioned", bound=Stamped)
TAGS = re.compile(rf"\s*{TAG.pattern}(\s*,\s*{TAG.pattern})*\s*")


class Precondition:
    """Returns a row if `If-Match` is absent, `*`, or contains its version. Raises a 412 otherwise.

    Raises a 422 for a malformed header. The weak tag of a version (`W/"2"`, from a compressing proxy) matches too.
    """

    def __init__(self, request: Request) -> None:
        lines = headers(request.scope, b"if-match")
        if_match = ", ".join(lines)  # several lines are one list (RFC 9110, section 5.3)
        self.header = None if not lines or if_match.strip() == "*" else if_match
        if self.header is not None and not TAGS.fullmatch(self.header):
            raise invalid([error("header", "If-Match", 'Expected "…" entity tags or *', "etag_parsing")])
        if_none_match = header(request.scope, b"if-none-match")
        self.must_be_absent = request.method == "PUT" and (if_none_match or "").strip() == "*"

    def __call__(self, row: Versioned) -> Versioned:
        if self.must_be_absent:
            raise Problem(412, "The resource already exists.", kind="exists")
        if self.header is None or any(tag == str(row.version) for _, tag in TAG.findall(self.header)):
            return row
        raise Problem(412, "The resource has another version now.", kind="version-mismatch")


async def precondition_of(request: Request) -> Precondition:  # async, so that FastAPI does not call it in a thread
    return Precondition(request)


IfMatch = Annotated[Precondition, Depends(precondition_of)]
"""For handlers that change a row: `matching(row)` returns the row if its version matches `If-Match`."""
