"""Proxies: the prefix that a proxy strips from paths, from `root_path` or the header `X-Forwarded-Prefix`.

After this, `root_path` and `path` in the scope have the prefix that is in the client's URL, as under uvicorn's
`--root-path`, so that every reference leads back through the proxy. A proxy that strips nothing works too.
"""

import re
from collections.abc import Callable, Container
from functools import cache
from importlib import import_module
from typing import Any

from starlette.types import Scope

from kit.http.request_headers import headers

FORWARDED_PREFIX = b"x-forwarded-prefix"
FROM_PROXY = "kit.from_proxy"
"""The key in the ASGI scope that tells whether the connection is from a trusted proxy, if the connection knows it."""
PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,20}/?")
"""A prefix of plain segments: no `//`, which would lead to another host, and no `..`."""
MAX_PREFIX = 200


class Proxies:
    """Sets the prefix of each request.

    `root_path` is the prefix that the application is configured with. `trusted` are the addresses and networks of the
    proxies whose `X-Forwarded-Prefix` is believed, as in uvicorn's `--forwarded-allow-ips`. `has_routes` tells whether
    the application itself has routes under a path.
    """

    def __init__(self, root_path: str, trusted: str, has_routes: Callable[[str], bool]) -> None:
        self.root_path, self.trusted, self.has_routes = root_path, trusted, has_routes

    def apply(self, scope: Scope) -> None:
        """Set `root_path` and `path` of the scope."""
        root, path = str(scope.get("root_path", "")), str(scope["path"])
        rest = path.removeprefix(root) if is_under(path, root) else path
        prefix, root = self.root_path, normalized(root)
        if not prefix and self.is_from_proxy(scope):
            prefix = forwarded_prefix(scope)
        for known in dict.fromkeys((prefix, root)):
            if is_under(rest, known) and not self.has_routes(known):  # a proxy that strips nothing
                rest = rest.removeprefix(known)
        root = root if prefix == root else prefix + root
        if root:
            scope["root_path"], scope["path"] = root, root + (rest if rest.startswith("/") else f"/{rest}")

    def is_from_proxy(self, scope: Scope) -> bool:
        """Return whether the connection is from a trusted proxy.

        uvicorn has replaced `client` by the address in `X-Forwarded-For`. The connection knows the address before.
        """
        if FROM_PROXY in scope:
            return bool(scope[FROM_PROXY])
        client = scope.get("client")
        return (client[0] if client else None) in trusted_hosts(self.trusted)


@cache
def trusted_hosts(addresses: str) -> Container[str | None]:
    """Return these addresses and networks, as uvicorn reads them.

    `Service` calls it at start, before the first request, and not when it is imported: commands need no server.
    """
    proxy_headers: Any = import_module("uvicorn.middleware.proxy_headers")
    trusted: Container[str | None] = proxy_headers.ProxyHeadersMiddleware(None, addresses).trusted_hosts
    return trusted


def is_under(path: str, prefix: str) -> bool:
    """Return whether a path begins with the segments of this prefix, which is not empty."""
    return prefix != "" and (path == prefix or path.startswith(f"{prefix.rstrip('/')}/"))


def normalized(prefix: str) -> str:
    """Return a prefix with a slash before it and none behind it, or an empty text."""
    plain = prefix.strip("/")
    return f"/{plain}" if plain else ""


def forwarded_prefix(scope: Scope) -> str:
    """Return the prefixes of `X-Forwarded-Prefix`, the outermost proxy's first; empty if one is not a plain path."""
    parts = [part.strip() for part in ",".join(headers(scope, FORWARDED_PREFIX)).split(",")]
    given = [part for part in parts if part not in ("", "/")]
    if sum(map(len, given)) > MAX_PREFIX or not all(map(PREFIX.fullmatch, given)):
        return ""
    return "".join(map(normalized, given))
