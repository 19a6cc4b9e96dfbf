"""Content codings (RFC 9110, section 8.4): which responses may be compressed, and which clients accept that."""

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

MIN_SIZE = 1024
"""The least size of a body that is compressed, in bytes: the gain of a smaller one is less than a packet."""
MAX_HEADER = 1000
"""The largest size of an `Accept-Encoding` that is read, in bytes; browsers send about 30."""
TEXTUAL = re.compile(
    rb"(text/(?!event-stream)[^;]*|application/((json|javascript|xml|wasm|manifest\+json)|[^;]*\+(json|xml))"
    rb"|image/svg\+xml|application/(x-ndjson|jsonl))\s*(;.*)?",
    re.IGNORECASE,
)
"""The media types that are worth compressing. Images and archives are compressed already."""
ELEMENT = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.IGNORECASE)
VARIES = (b"vary", b"Accept-Encoding")


class AcceptedCoding(Enum):
    """The content coding that `Accept-Encoding` asks for."""

    PLAIN = "no coding"
    GZIP = "gzip for bodies of at least `MIN_SIZE`"
    ALWAYS = "gzip for every body, because a plain one is not acceptable"


@lru_cache(100)
def accepted_coding(accept_encoding: bytes) -> AcceptedCoding:
    """Return what a client accepts (RFC 9110, section 12.5.3). A malformed element counts as absent."""
    if len(accept_encoding) > MAX_HEADER:
        return AcceptedCoding.PLAIN
    elements = map(ELEMENT.fullmatch, accept_encoding.decode("latin-1").lower().split(","))
    weights = {match[1]: float(match[2] or 1) for match in elements if match}
    others = weights.get("*")
    gzip = weights.get("gzip", weights.get("x-gzip", others or 0))
    plain = weights.get("identity", 0.001 if others != 0 else 0)  # without a weight it is accepted, but not preferred
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
    """Return whether a response depends on `Accept-Encoding`: whether clients that accept gzip get it compressed."""
    return may_be_compressed(headers) and int(headers[b"content-length"]) >= MIN_SIZE


def weakened(tag: bytes) -> bytes:
    """Return the entity tag of a compressed body: a strong tag is only of one sequence of bytes."""
    return tag if tag.startswith(b"W/") else b"W/" + tag
