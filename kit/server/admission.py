"""Admission: a bounded number of requests and of streams is served at a time; others wait shortly, or get a 503."""

import asyncio
from weakref import WeakKeyDictionary

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from kit.http.paths import path_in_application
from kit.http.problems import render, unavailable

MAX_WAIT_SECONDS = 0.5
"""How long a request waits for a place; then it gets a 503."""
NEVER_REFUSED = ("/health", "/metrics")
"""Paths of operators, who need an answer most of all when the service is busy."""
WITHOUT_BODY = (204, 304)
"""Statuses of responses that have no content (RFC 9110, section 6.4.1)."""
TRY_AGAIN_LATER = 1013
"""The close code of a WebSocket that is refused because the service is busy (registered with IANA)."""
DENIAL = "websocket.http.response"
"""The ASGI extension by which a WebSocket is refused with an HTTP response."""
TOO_MANY_STREAMS = "Too many streams at once; try again."


class RefusedStreamError(OSError):
    """Raised from `send` where a stream may not begin: as servers do when the client is gone (ASGI 2.4)."""


class Places:
    """The places for requests and for streams in one event loop. At most `limit` requests wait for a place."""

    def __init__(self, limit: int, max_streams: int) -> None:
        self.limit, self.waiting = limit, 0
        self.requests, self.streams = asyncio.Semaphore(limit), asyncio.Semaphore(max_streams)

    async def enter(self) -> bool:
        """Take the place of a request, if there is one in time."""
        if not self.requests.locked():
            return await self.requests.acquire()
        if self.waiting >= self.limit:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                return await self.requests.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1

    async def enter_stream(self) -> bool:
        """Take the place of a stream, if there is one now."""
        return False if self.streams.locked() else await self.streams.acquire()


class Admission:
    """Serves at most `limit` requests and `max_streams` streams at a time, in each event loop.

    As many requests wait for at most `MAX_WAIT_SECONDS`; the others get a 503 at once. A response without a length is a
    stream, which may last as long as its client stays: when it starts, it leaves its place to another request, and
    takes one of a stream. A WebSocket is a stream from its start.
    """

    def __init__(self, app: ASGIApp, limit: int, max_streams: int = 100) -> None:
        self.app, self.limit, self.max_streams = app, limit, max_streams
        self.of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Places] = WeakKeyDictionary()
        self.last: tuple[asyncio.AbstractEventLoop | None, Places] = (None, self.new_places())
        """The places of the loop that asked last."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"] if not scope.get("root_path") else path_in_application(scope)
            if path.startswith(NEVER_REFUSED):
                await self.app(scope, receive, send)
            else:
                await self.serve_request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.serve_websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    @property
    def places(self) -> Places:
        """The places of the running event loop."""
        loop = asyncio.get_running_loop()
        owner, places = self.last
        if owner is not loop:
            places = self.of_loops.setdefault(loop, self.new_places())
            self.last = loop, places
        return places

    def new_places(self) -> Places:
        return Places(self.limit, self.max_streams)

    async def serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        places = self.places
        if not await places.enter():
            await refusal(scope, "not_applied", "Too many requests at once; try again.")(scope, receive, send)
            return
        request = AdmittedRequest(places, scope, receive, send)
        try:
            await self.app(scope, receive, request.send)
        except Exception:
            if not request.is_refused:
                raise
        finally:
            request.held.release()

    async def serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        places = self.places
        if not await places.enter_stream():
            websocket = WebSocket(scope, receive, send)
            if DENIAL in scope.get("extensions", {}):
                await websocket.send_denial_response(
                    refusal(scope, "not_applied", "Too many streams at once; try again.")
                )
            else:
                await websocket.close(TRY_AGAIN_LATER)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            places.streams.release()


class AdmittedRequest:
    """A request with its place, which it changes for that of a stream when its response turns out to be one."""

    def __init__(self, places: Places, scope: Scope, receive: Receive, send: Send) -> None:
        self.places, self.scope, self.receive, self.send_on = places, scope, receive, send
        self.held, self.is_refused = places.requests, False

    async def send(self, message: Message) -> None:
        if self.is_refused:
            raise RefusedStreamError
        if message["type"] == "http.response.start" and starts_stream(message):
            await self.become_stream()
        await self.send_on(message)

    async def become_stream(self) -> None:
        if not await self.places.enter_stream():
            self.is_refused = True
            outcome = "not_applied" if self.scope["method"] in ("GET", "HEAD") else "unknown"
            await refusal(self.scope, outcome, TOO_MANY_STREAMS)(self.scope, self.receive, self.send_on)
            raise RefusedStreamError
        self.held.release()
        self.held = self.places.streams


def refusal(scope: Scope, outcome: str, detail: str) -> Response:
    return render(scope, unavailable(outcome, detail))


def starts_stream(message: Message) -> bool:
    """Whether a response starts whose length is not known."""
    return b"content-length" not in dict(message.get("headers", ())) and message["status"] not in WITHOUT_BODY
