"""Security headers of every response, and the accepted host names."""

import re
from collections.abc import Iterator, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.paths import path_in_application
from kit.http.problems import Problem, render

Header = tuple[bytes, bytes]
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
DEFAULTS = dict(ALWAYS)
NAMES = frozenset(DEFAULTS)
PAGE_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")
"""The policy for HTML of the kit's users: a page may load other resources, but must not be framed."""
PRIVATE = (b"cache-control", b"private")
"""Added to responses to requests with an Authorization header."""
AUTHORIZATION = b"authorization"
PORT = re.compile(r":[0-9]*$")
HSTS = (b"strict-transport-security", b"max-age=31536000")
"""Added to responses over TLS: one year (RFC 6797)."""


def missing(given: Mapping[bytes, bytes], *, is_page: bool) -> Iterator[Header]:
    """Return the security headers that are missing in the headers of a response."""
    fields = DEFAULTS | dict([PAGE_POLICY]) if is_page else DEFAULTS
    return (header for header in fields.items() if header[0] not in given)


class TrustedHosts:
    """Refuses requests with a 400 if their Host matches no pattern, such as `api.example.com` or `*.example.com`.

    Health checks are accepted with any Host, because they use the address of a machine.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, [host.lower() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or path_in_application(scope).startswith("/health/")
            or self.trusts(Headers(scope=scope))
        ):
            await self.app(scope, receive, send)
            return
        problem = Problem(400, "The Host is not one of this service.", kind="untrusted-host")
        await render(scope, problem)(scope, receive, send)

    def trusts(self, headers: Headers) -> bool:
        name = PORT.sub("", headers.get("host", "").lower()).rstrip(".")
        return any(name == host or (host[:2] == "*." and name.endswith(host[1:])) for host in self.hosts)
