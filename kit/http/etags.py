"""Entity tags (RFC 9110, section 8.8.3): digests of content, and the comparison with `If-None-Match`."""

import re
from hashlib import blake2b

from starlette.responses import Response

from kit.http.codings import VARIES, varies

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
OF_A_BODY = (b"content-type", b"content-length", b"content-encoding")


def weak_etag(*parts: bytes) -> str:
    """Return the weak entity tag of a response without a version: a digest of its content."""
    return f'W/"{blake2b(b"".join(parts), digest_size=12).hexdigest()}"'


def etag_with_digest(version: int, body: bytes) -> str:
    """Return the strong entity tag of a row whose version does not tell all of the response: with a digest of it.

    `If-Match` compares the version alone (`version_in`).
    """
    return f'"{version}.{blake2b(body, digest_size=12).hexdigest()}"'


def version_in(opaque: str) -> str:
    """Return the version in the opaque part of the entity tag of a row, with or without a digest."""
    return opaque.partition(".")[0]


def is_fresh(tag: str, if_none_match: str) -> bool:
    """Return whether `If-None-Match` is `*`, or contains this tag (weak comparison). Malformed parts are ignored."""
    if if_none_match.strip() == "*":
        return True
    opaque = tag.removeprefix("W/")
    return any(f'"{match[2]}"' == opaque for match in TAG.finditer(if_none_match))


def not_modified(response: Response) -> Response:
    """Return the 304 in place of a response: the headers without those of the body (RFC 9110, section 15.4.5)."""
    unchanged, given = Response(status_code=304, background=response.background), dict(response.raw_headers)
    unchanged.raw_headers = [item for item in response.raw_headers if item[0] not in OF_A_BODY]
    if varies(given):
        unchanged.raw_headers.append(VARIES)
    return unchanged
