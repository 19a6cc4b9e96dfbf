"""Request headers, read directly from the ASGI scope, which is faster than Starlette's `Headers`."""

import re

from starlette.types import Scope

Header = tuple[bytes, bytes]
"""A header as in the messages of ASGI: its name, in lower case in requests, and its value."""
RANGE, BYTES = b"range", b"bytes"


NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""The name of a header (RFC 9110, section 5.1)."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return the value of the first header with this lower-case name; None if there is none."""
    return next(iter(headers(scope, name)), None)


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return the values of all headers with this lower-case name, in their order."""
    return [value.decode("latin-1") for given, value in scope["headers"] if given == name]


def ignore_other_ranges(scope: Scope) -> None:
    """Remove a `Range` in another unit than bytes, which a server has to ignore (RFC 9110, section 14.2)."""
    given = scope["headers"]
    if any(name == RANGE and not is_in_bytes(value) for name, value in given):
        scope["headers"] = [header for header in given if header[0] != RANGE]


def is_in_bytes(value: bytes) -> bool:
    unit, equals, _ = value.partition(b"=")
    return equals == b"=" and unit.strip().lower() == BYTES


def refuse_other_name(name: str) -> None:
    """Raise a ValueError unless a header can have this name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"has {name!r}, which is not the name of a header: write names as in traceparent, or *")
