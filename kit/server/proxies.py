"""Proxies: sets the path prefix that a proxy strips, from the setting `root_path` or `X-Forwarded-Prefix`.

Afterwards `root_path` and `path` in the scope begin with the prefix, as with uvicorn's `--root-path`, so that links in
responses lead through the proxy. A proxy that does not strip the prefix is supported too.
"""

import ipaddress
import re
from collections.abc import Callable, Container
from functools import cache
from importlib import import_module
from typing import Any

from starlette.types import Scope

from kit.http.request_headers import headers

FORWARDED_PREFIX = b"x-forwarded-prefix"
FROM_PROXY = "kit.from_proxy"
"""The key in the ASGI scope of whether the connection is from a trusted proxy. Set by `kit.server.connections`."""
PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,20}/?")
"""A prefix of plain segments, without `//`, which in a link would be another host, and without `..`."""
MAX_PREFIX = 200


class Proxies:
    """Sets the prefix of each request.

    `root_path` is the configured prefix. `trusted` are the addresses and networks of the proxies whose
    `X-Forwarded-Prefix` is trusted, as in uvicorn's `--forwarded-allow-ips`. `has_routes` returns whether the
    application itself has routes under a path.
    """

    def __init__(self, root_path: str, trusted: str, has_routes: Callable[[str], bool]) -> None:
        self.root_path, self.trusted, self.has_routes = root_path, trusted, has_routes

    def apply(self, scope: Scope) -> None:
        """Set `root_path` and `path` in the scope of a request."""
        root, path = str(scope.get("root_path", "")), str(scope["path"])
        rest = path.removeprefix(root) if is_under(path, root) else path
        prefix, root = self.root_path, normalized(root)
        if not prefix and self.is_from_proxy(scope):
            prefix = forwarded_prefix(scope)
        for known in dict.fromkeys((prefix, root)):
            if is_under(rest, known) and not self.has_routes(known):  # the proxy has not stripped the prefix
                rest = rest.removeprefix(known)
        root = root if prefix == root else prefix + root
        if root:
            scope["root_path"], scope["path"] = root, root + (rest if rest.startswith("/") else f"/{rest}")

    def is_from_proxy(self, scope: Scope) -> bool:
        """Return whether the connection is from a trusted proxy.

        Under uvicorn, `client` is the address in `X-Forwarded-For`, so the connection tells it by `FROM_PROXY`.
        """
        if FROM_PROXY in scope:
            return bool(scope[FROM_PROXY])
        client = scope.get("client")
        return (client[0] if client else None) in trusted_hosts(self.trusted)


@cache
def trusted_hosts(addresses: str) -> Container[str | None]:
    """Parse addresses and networks, separated by commas, as uvicorn does.

    `Service` calls it at start, so that importing the application, as commands do, does not import uvicorn.
    """
    proxy_headers: Any = import_module("uvicorn.middleware.proxy_headers")
    trusted: Container[str | None] = proxy_headers.ProxyHeadersMiddleware(None, addresses).trusted_hosts
    return trusted


def refuse_other_addresses(addresses: str) -> None:
    """Raise a ValueError unless each part is an address or a network, or `*` is the only one.

    Uvicorn takes any other text for the name of a client, which no connection has.
    """
    for part in [part.strip() for part in addresses.split(",") if part.strip() and addresses.strip() != "*"]:
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise ValueError(
                f"has {part!r}, which is neither an address nor a network: write them as in 10.0.0.1 or 10.0.0.0/8, "
                "without bits after the prefix, or * alone"
            ) from None


def is_under(path: str, prefix: str) -> bool:
    """Return whether a path begins with the segments of a prefix; False for an empty prefix."""
    return prefix != "" and (path == prefix or path.startswith(f"{prefix.rstrip('/')}/"))


def normalized(prefix: str) -> str:
    """Return a prefix with a leading and without a trailing slash; an empty text stays empty."""
    plain = prefix.strip("/")
    return f"/{plain}" if plain else ""


def forwarded_prefix(scope: Scope) -> str:
    """Return the joined prefixes in `X-Forwarded-Prefix`, the outermost proxy's first; empty if one is not valid."""
    parts = [part.strip() for part in ",".join(headers(scope, FORWARDED_PREFIX)).split(",")]
    given = [part for part in parts if part not in ("", "/")]
    if sum(map(len, given)) > MAX_PREFIX or not all(map(PREFIX.fullmatch, given)):
        return ""
    return "".join(map(normalized, given))
