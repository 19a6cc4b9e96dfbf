"""Security headers of responses, and the middleware that accepts only known host names."""

import re
from collections.abc import Iterator, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.paths import path_in_application
from kit.http.problems import Problem, render
from kit.http.request_headers import Header

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
DEFAULTS = dict(ALWAYS)
NAMES = frozenset(DEFAULTS)
PAGE_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")
"""The default policy of HTML pages: they may load resources, but must not be framed by other pages."""
PRIVATE = (b"cache-control", b"private")
"""Added to the responses to requests with an `Authorization` header."""
AUTHORIZATION = b"authorization"
PORT = re.compile(r":[0-9]*$")
HSTS = (b"strict-transport-security", b"max-age=31536000")
"""Added to responses over TLS: one year (RFC 6797)."""


def missing(header_map: Mapping[bytes, bytes], *, is_page: bool) -> Iterator[Header]:
    """Return the security headers that a response with these headers lacks."""
    fields = DEFAULTS | dict([PAGE_POLICY]) if is_page else DEFAULTS
    return (header for header in fields.items() if header[0] not in header_map)


class TrustedHosts:
    """Middleware that refuses a request with a 400 if its Host matches no pattern, such as `*.example.com`.

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
