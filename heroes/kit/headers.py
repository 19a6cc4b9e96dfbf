"""What does every answer carry: headers that tell browsers and caches what not to do."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heroes.kit.problem import Problem, render

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
PORT = re.compile(r":[0-9]*$")
HSTS = "max-age=31536000"
"""Behind TLS, for a year (RFC 6797)."""


class SafeHeaders:
    """Outermost, so that no answer is without them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(scope, MutableHeaders(scope=message))
            await send(message)

        await self.app(scope, receive, tell if scope["type"] == "http" else send)


def complete(scope: Scope, headers: MutableHeaders) -> None:
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    if "authorization" in Headers(scope=scope):
        headers.setdefault("Cache-Control", "private")
    if scope.get("scheme") == "https":
        headers.setdefault("Strict-Transport-Security", HSTS)


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
