"""Which version do you mean: ETag, If-Match and If-None-Match (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from hashlib import blake2b
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from kit.http.problems import Problem, error, invalid
from kit.http.request_headers import headers
from kit.models.entities import Stamped

Versioned = TypeVar("Versioned", bound=Stamped)
TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
TAGS = re.compile(rf"\s*{TAG.pattern}(\s*,\s*{TAG.pattern})*\s*")


def etag(version: int) -> str:
    """The strong tag of one thing: its version."""
    return f'"{version}"'


def weak_etag(*parts: bytes) -> str:
    """The tag of an answer that has no version: a digest of what it says."""
    return f'W/"{blake2b(b"".join(parts), digest_size=12).hexdigest()}"'


def is_fresh(tag: str, if_none_match: str | None) -> bool:
    """Has the caller this answer already? Weak comparison; a malformed header counts for nothing."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    opaque = tag.removeprefix("W/")
    return any(f'"{match[2]}"' == opaque for match in TAG.finditer(if_none_match))


class Precondition:
    """Lets a thing through if `If-Match` is absent, `*`, or names its version; else 412.

    Strong comparison, so a weak tag never matches. A malformed header is a 422.
    """

    def __init__(self, request: Request) -> None:
        given = headers(request.scope, b"if-match")
        if_match = ", ".join(given)  # several lines are one list (RFC 9110, section 5.3)
        self.header = None if not given or if_match.strip() == "*" else if_match
        if self.header is not None and not TAGS.fullmatch(self.header):
            raise invalid([error("header", "If-Match", 'Expected "…" entity tags or *', "etag_parsing")])

    def __call__(self, thing: Versioned) -> Versioned:
        if self.header is None:
            return thing
        if any(not weak and tag == str(thing.version) for weak, tag in TAG.findall(self.header)):
            return thing
        raise Problem(412, "The thing has another version by now.", kind="version-mismatch")


IfMatch = Annotated[Precondition, Depends()]
