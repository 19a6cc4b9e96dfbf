"""The layer around the application that reads the token of a request, and sends that of its response."""

import time
from collections.abc import Iterable
from functools import cached_property

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.replicas.positions import NOWHERE, Position
from kit.replicas.router import Router
from kit.replicas.tokens import Tokens
from kit.replicas.views import VIEW, View

HEADER, COOKIE = b"read-after", b"read_after="
Headers = Iterable[tuple[bytes, bytes]]
WITHOUT_BODY = (204, 304)
"""Statuses of responses without a body."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods of requests that may be answered by a standby."""
MIN_AGE = 60
"""The shortest lifetime of the cookie in seconds; it outlives the longest lag of a standby that is read."""


class ReadAfter:
    """Gives each request its view of the database, and its response the token of what it has shown."""

    def __init__(self, app: ASGIApp, router: Router, secrets: Iterable[bytes]) -> None:
        self.app, self.router, self.secrets = app, router, list(secrets)
        self.attributes = f"; Path=/; Max-Age={max(MIN_AGE, round(2 * router.max_lag))}; HttpOnly; SameSite=Lax"
        self.tokens = Tokens(self.secrets, router.system)
        self.system = router.system

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self.router.loop is None:
            await self.app(scope, receive, send)
            return
        if self.system != self.router.system:
            self.system, self.tokens = self.router.system, Tokens(self.secrets, self.router.system)
        needed = self.needed(scope["headers"])
        view = View(needed, is_writing=scope.get("method", "GET") not in READS)
        if needed is not None and not view.is_writing and not self.router.able(needed):
            await self.router.wait_for(needed)
        token = VIEW.set(view)
        try:
            await self.app(scope, receive, Answer(self, view, scope, send))
        finally:
            VIEW.reset(token)

    def needed(self, headers: Headers) -> Position | None:
        """Return the newest position in the tokens of a request; `NOWHERE` if one is not valid."""
        given = [token.decode("latin-1") for token in tokens_of(headers)]
        positions = [self.tokens.read(token) for token in given]
        if not positions or NOWHERE in positions:
            return NOWHERE if positions else None
        return max(positions)

    async def token_of(self, view: View, status: int, headers: Headers) -> str:
        """Return the token of a response. A failed write may have seen what no COMMIT covers."""
        if is_stream(status, headers):
            return self.tokens.issue(NOWHERE)
        primary = self.router.primary
        if view.is_writing and status >= 400:
            primary.unsettled = max(primary.unsettled, time.monotonic())
        return self.tokens.issue(await self.router.position_of(view))


def is_stream(status: int, headers: Headers) -> bool:
    """Return whether a response has a body that may be read from the database after its head was sent."""
    return status not in WITHOUT_BODY and not any(name == b"content-length" for name, _ in headers)


def tokens_of(headers: Headers) -> Iterable[bytes]:
    for name, value in headers:
        if name == HEADER:
            yield value.strip()
        elif name == b"cookie" and COOKIE in value:
            parts = [part.strip() for part in value.split(b";")]
            yield from (part.removeprefix(COOKIE) for part in parts if part.startswith(COOKIE))


class Answer:
    """Sends the messages of a response, the first one with the token."""

    def __init__(self, layer: ReadAfter, view: View, scope: Scope, send: Send) -> None:
        self.layer, self.view, self.scope, self.send = layer, view, scope, send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            status = message["status"]
            if status < 500 and (self.view.used or is_stream(status, headers)):  # a failure shows nothing
                token = (await self.layer.token_of(self.view, status, headers)).encode()
                headers += [(HEADER, token), (b"set-cookie", COOKIE + token + self.attributes)]
            self.view.is_answered, message = True, {**message, "headers": headers}
        elif message["type"] == "websocket.accept":
            self.view.is_answered = True
        await self.send(message)

    @cached_property
    def attributes(self) -> bytes:
        secure = "; Secure" if self.scope.get("scheme") == "https" else ""
        return (self.layer.attributes + secure).encode()
