"""URLs of other servers: finds settings that are not the URL of an HTTP server."""

from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Return whether a text is the URL of an HTTP server."""
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # an invalid address in brackets, or an invalid port
        return False
