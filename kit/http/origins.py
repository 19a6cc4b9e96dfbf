"""Web origins: finds settings of origins that no browser sends, and that would therefore never match."""

import re

ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:(?P<port>[1-9]\d{0,4}))?")
"""An origin as browsers send it (RFC 6454, section 6.1): in lower case, with the ASCII form of the host."""
DEFAULT_PORTS = {"http": "80", "https": "443"}
"""The ports that browsers leave out of an origin."""


def refuse_other_origin(text: str) -> None:
    """Raise a ValueError unless the text is `*`, or an origin as browsers send it."""
    match = ORIGIN.fullmatch(text)
    port = (match and match["port"]) or ""
    if text == "*" or (match and port != DEFAULT_PORTS.get(match["scheme"], "-") and int(port or 1) < 2**16):
        return
    raise ValueError(
        "must be like https://shop.example.com, without a path, a slash at the end, a wildcard, capital letters and "
        "the default port, or *"
    )
