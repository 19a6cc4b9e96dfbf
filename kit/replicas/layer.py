"""The ASGI middleware for tokens: reads the token of a request, and adds a token to its response."""

import time
from collections.abc import Iterable
from functools import cached_property

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.replicas.contexts import READ_CONTEXT, ReadContext
from kit.replicas.positions import UNKNOWN_POSITION, Position
from kit.replicas.router import Router
from kit.replicas.tokens import Tokens

HEADER, COOKIE = b"read-after", b"read_after="
Headers = Iterable[tuple[bytes, bytes]]
WITHOUT_BODY = (204, 304)
"""Statuses of responses without a body."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods of requests that may read from a standby."""
MIN_AGE = 60
"""The minimum lifetime of the cookie in seconds. It must be longer than the lag of any standby that is used."""


class ReadAfter:
    """The middleware: sets the `ReadContext` of each request, and adds to its response the token of its position."""

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
        context = ReadContext(needed, is_writing=scope.get("method", "GET") not in READS)
        if needed is not None and not context.is_writing and not self.router.standbys_with(needed):
            await self.router.wait_for(needed)
        token = READ_CONTEXT.set(context)
        try:
            await self.app(scope, receive, ResponseSender(self, context, scope, send))
        finally:
            READ_CONTEXT.reset(token)

    def needed(self, headers: Headers) -> Position | None:
        """Return the latest position in the tokens of a request; None without a token.

        Returns `UNKNOWN_POSITION` if one of them is not valid.
        """
        given = [token.decode("latin-1") for token in tokens_of(headers)]
        positions = [self.tokens.read(token) for token in given]
        if not positions or UNKNOWN_POSITION in positions:
            return UNKNOWN_POSITION if positions else None
        return max(positions)

    async def token_of(self, context: ReadContext, status: int, headers: Headers) -> str:
        """Return the token for a response. After a failed write the position is queried: no COMMIT has reported it."""
        if is_stream(status, headers):
            return self.tokens.issue(UNKNOWN_POSITION)
        primary = self.router.primary
        if context.is_writing and status >= 400:
            primary.unknown_at = max(primary.unknown_at, time.monotonic())
        return self.tokens.issue(await self.router.position_of(context))


def is_stream(status: int, headers: Headers) -> bool:
    """Return whether the response is a stream, which may read from the database after its headers were sent."""
    return status not in WITHOUT_BODY and not any(name == b"content-length" for name, _ in headers)


def tokens_of(headers: Headers) -> Iterable[bytes]:
    """Yield the tokens in the headers and cookies of a request."""
    for name, value in headers:
        if name == HEADER:
            yield value.strip()
        elif name == b"cookie" and COOKIE in value:
            parts = [part.strip() for part in value.split(b";")]
            yield from (part.removeprefix(COOKIE) for part in parts if part.startswith(COOKIE))


class ResponseSender:
    """The `send` of a request, which adds the token to the headers of the response."""

    def __init__(self, layer: ReadAfter, context: ReadContext, scope: Scope, send: Send) -> None:
        self.layer, self.context, self.scope, self.send = layer, context, scope, send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            status = message["status"]
            if status < 500 and (self.context.used or is_stream(status, headers)):  # a failure contains no rows
                token = (await self.layer.token_of(self.context, status, headers)).encode()
                headers += [(HEADER, token), (b"set-cookie", COOKIE + token + self.attributes)]
            self.context.has_response_started, message = True, {**message, "headers": headers}
        elif message["type"] == "websocket.accept":
            self.context.has_response_started = True
        await self.send(message)

    @cached_property
    def attributes(self) -> bytes:
        secure = "; Secure" if self.scope.get("scheme") == "https" else ""
        return (self.layer.attributes + secure).encode()
