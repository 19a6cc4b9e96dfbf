"""Trace context: parses the header `traceparent` (W3C Trace Context)."""

import re
from collections.abc import Sequence

TRACE_HEADER = b"traceparent"
MAX_LENGTH = 512
"""The maximum length of a `traceparent` that OpenTelemetry reads, in bytes."""
TRACE_PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
FIRST_VERSION = b"00"


def trace_id_of(headers: Sequence[bytes]) -> str | None:
    """Return the trace id in the values of the header `traceparent` (W3C Trace Context, section 3.2).

    Returns None if it is invalid or repeated. Only versions after 00 may have further parts.
    """
    found = None
    if len(headers) == 1 and len(headers[0]) <= MAX_LENGTH:
        found = TRACE_PARENT.fullmatch(headers[0].strip())
    return None if found is None or (found[1] == FIRST_VERSION and found[3]) else found[2].decode()
