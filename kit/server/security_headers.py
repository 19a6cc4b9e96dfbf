"""What does every answer carry: headers that tell browsers and caches what not to do."""

import re
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.http.problems import Problem, render
from kit.http.request_headers import header

Header = tuple[bytes, bytes]
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
DEFAULTS = dict(ALWAYS)
PRIVATE = (b"cache-control", b"private")
PORT = re.compile(r":[0-9]*$")
HSTS = (b"strict-transport-security", b"max-age=31536000")
"""Behind TLS, for a year (RFC 6797)."""


class SafeHeaders:
    """Outermost, so that no answer is without them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = complete(scope, message["headers"])
            await send(message)

        await self.app(scope, receive, tell if scope["type"] == "http" else send)


def complete(scope: Scope, headers: Collection[Header]) -> list[Header]:
    """These headers, and those that are missing."""
    given = dict(headers)
    answered = [*headers, *(ALWAYS if given.keys().isdisjoint(DEFAULTS) else missing(given))]
    if PRIVATE[0] not in given and header(scope, b"authorization") is not None:
        answered.append(PRIVATE)
    if scope.get("scheme") == "https" and HSTS[0] not in given:
        answered.append(HSTS)
    return answered


def missing(given: Collection[bytes]) -> list[Header]:
    return [header for header in ALWAYS if header[0] not in given]


class TrustedHosts:
    """Refuses a Host that is none of these patterns, such as `api.example.com` or `*.example.com`, with a 400.

    Health is asked for by address, so there any name will do.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, [host.lower() for host in hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/health") or self.trusts(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        problem = Problem(400, "The Host is not one of this service.", kind="untrusted-host")
        await render(scope, problem)(scope, receive, send)

    def trusts(self, headers: Headers) -> bool:
        name = PORT.sub("", headers.get("host", "").lower()).rstrip(".")
        return any(name == host or (host[:2] == "*." and name.endswith(host[1:])) for host in self.hosts)
