"""Entity tags: made of a content, and compared with `If-None-Match` (RFC 9110, section 8.8.3)."""

import re
from hashlib import blake2b

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


def weak_etag(*parts: bytes) -> str:
    """The weak tag of an answer without a version: a digest of its content."""
    return f'W/"{blake2b(b"".join(parts), digest_size=12).hexdigest()}"'


def is_fresh(tag: str, if_none_match: str) -> bool:
    """Whether the client has this answer already. Weak comparison; a malformed header matches nothing."""
    if if_none_match.strip() == "*":
        return True
    opaque = tag.removeprefix("W/")
    return any(f'"{match[2]}"' == opaque for match in TAG.finditer(if_none_match))
