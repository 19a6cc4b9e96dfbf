"""Content codings (RFC 9110, section 8.4): which responses may be compressed, and which clients accept that."""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

MIN_SIZE = 1024
"""The minimum size of a body that is compressed, in bytes. A smaller one would not save a network packet."""
MAX_HEADER = 1000
"""The maximum size of an `Accept-Encoding` that is parsed, in bytes. Browsers send about 30."""
TEXTUAL = re.compile(
    rb"(text/(?!event-stream)[^;]*|application/((json|javascript|xml|wasm|manifest\+json)|[^;]*\+(json|xml))"
    rb"|image/svg\+xml|application/(x-ndjson|jsonl))\s*(;.*)?",
    re.IGNORECASE,
)
"""The media types that are compressed: text formats, but no event streams."""
ELEMENT = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.IGNORECASE)
VARIES = (b"vary", b"Accept-Encoding")


class AcceptedCoding(Enum):
    """The content coding of a response by the header `Accept-Encoding`."""

    PLAIN = "no coding"
    GZIP = "gzip for bodies of at least `MIN_SIZE`"
    ALWAYS = "gzip for every body, because a plain one is not acceptable"


@lru_cache(100)
def accepted_coding(accept_encoding: bytes) -> AcceptedCoding:
    """Return the coding for an `Accept-Encoding` (RFC 9110, section 12.5.3). Malformed elements are ignored."""
    if len(accept_encoding) > MAX_HEADER:
        return AcceptedCoding.PLAIN
    elements = map(ELEMENT.fullmatch, accept_encoding.decode("latin-1").lower().split(","))
    weights = {match[1]: float(match[2] or 1) for match in elements if match}
    others = weights.get("*")
    gzip = weights.get("gzip", weights.get("x-gzip", others or 0))
    plain = weights.get("identity", 0.001 if others != 0 else 0)  # identity without a weight has the lowest preference
    if not gzip or plain > gzip:
        return AcceptedCoding.PLAIN
    return AcceptedCoding.GZIP if plain else AcceptedCoding.ALWAYS


def may_be_compressed(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a response with these headers is text of a known length, and not compressed already."""
    return (
        headers.get(b"content-length", b"").isdigit()
        and b"content-encoding" not in headers
        and TEXTUAL.fullmatch(headers.get(b"content-type", b"")) is not None
        and b"no-transform" not in headers.get(b"cache-control", b"")
    )


def varies(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a response needs `Vary: Accept-Encoding`, because clients that accept gzip get it compressed."""
    return may_be_compressed(headers) and int(headers[b"content-length"]) >= MIN_SIZE


def weakened(tag: bytes) -> bytes:
    """Return the weak form of an entity tag, for a compressed body: a strong tag is for identical bytes only."""
    return tag if tag.startswith(b"W/") else b"W/" + tag
