"""Admission: limits the requests and streams that are served concurrently. Others wait for a moment, or are refused.

A request gets a slot when its body is complete, so that slow clients occupy none. Callers are served in turns. A client
that waits for a 100 (Continue) sends its body after the head has been accepted; its request has no slot meanwhile.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from kit.http.bodies import IncomingBody, expects_continue
from kit.http.fairness import CURRENT_CALLER, CURRENT_LANE, REQUESTS, Caller, caller_of, lane_of
from kit.http.paths import path_in_application
from kit.http.problems import Problem, render
from kit.http.request_headers import Header
from kit.server.rate_limits import RateLimits
from kit.server.request_log import whole_send
from kit.server.slots import Slots, busy, too_many

MAX_WAIT_SECONDS = 0.5
"""The maximum wait of a request for a slot, in seconds. Then it is refused."""
DELAY_SECONDS = 0.5
"""The delay, in seconds, of the 429 for a request over its caller's quota. It slows down clients that retry at once."""
WITHOUT_BODY = (204, 304)
"""The status codes of responses without content (RFC 9110, section 6.4.1)."""
TRY_AGAIN_LATER = 1013
"""The close code of a WebSocket that is refused because the service is busy (registered with IANA)."""
DENIAL = "websocket.http.response"
"""The ASGI extension by which a WebSocket is refused with an HTTP response."""
TOO_MANY_STREAMS = "Too many streams at once; try again."


def is_for_operators(path: str) -> bool:
    """Return whether a path is that of a health check or of the metrics, which are always served."""
    return path.startswith("/health/") or path.rstrip("/") == "/metrics"


class RefusedStreamError(OSError):
    """Raised by `send` if there is no slot for a stream: an OSError, as servers raise after a disconnect (ASGI 2.4)."""


class Admission:
    """The ASGI middleware: serves at most `limit` requests and `max_streams` streams at a time, in each event loop.

    Up to `limit` further requests wait, for at most `MAX_WAIT_SECONDS`. Others are refused at once: with a 429 if their
    caller uses more than its share, otherwise with a 503. A response without `Content-Length` is a stream, of unlimited
    duration: when it starts, it releases its slot for a request, and occupies a slot for a stream. A WebSocket is a
    stream from its start.

    `caller_share` is that of `Slots`. `known` are the user ids of `Authorization` headers that were valid before.
    `read_ahead` is the number of bytes of a body that are read before the request gets a slot. `rates` limit the
    requests of a caller per minute.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        max_streams: int = 100,
        *,
        caller_share: float = 1,
        known: Mapping[bytes, int] = MappingProxyType({}),
        read_ahead: int = 1_048_576,
        rates: RateLimits | None = None,
    ) -> None:
        self.app, self.limit, self.max_streams, self.caller_share = app, limit, max_streams, caller_share
        self.known, self.read_ahead, self.rates = known, read_ahead, rates
        self.of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Slots] = WeakKeyDictionary()
        self.last: tuple[asyncio.AbstractEventLoop | None, Slots] = (None, self.new_slots())
        """The event loop of the last request, and its slots."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await (self.serve_websocket if scope["type"] == "websocket" else self.app)(scope, receive, send)
            return
        path = scope["path"] if not scope.get("root_path") else path_in_application(scope)
        if is_for_operators(path):  # needed most when the service is overloaded
            await self.app(scope, receive, send)
            return
        caller = caller_of(scope, self.known)
        request = AdmittedRequest(self.slots, caller, lane_of(path), scope, receive, send)
        if self.rates is not None:
            fields = self.rates.admit_by_lease(caller)
            if fields is None and not await self.takes_lease(self.rates, request):
                return
            request.headers = fields or request.headers
        await (self.serve_with_body(request) if has_body(scope) else self.serve_complete(request, receive))

    @property
    def slots(self) -> Slots:
        """The slots of the running event loop."""
        loop = asyncio.get_running_loop()
        owner, slots = self.last
        if owner is not loop:
            slots = self.of_loops.setdefault(loop, self.new_slots())
            self.last = loop, slots
        return slots

    def new_slots(self) -> Slots:
        return Slots(self.limit, self.max_streams, self.caller_share)

    async def takes_lease(self, rates: RateLimits, request: "AdmittedRequest") -> bool:
        """Count the request of a caller without a lease. Returns False if it was refused, after `DELAY_SECONDS`."""
        try:
            request.headers = await rates.admit(request.caller)
        except Problem as problem:
            await asyncio.sleep(DELAY_SECONDS)
            await request.refuse(problem)
            return False
        return True

    async def serve_with_body(self, request: "AdmittedRequest") -> None:
        body = IncomingBody(request.receive, request.slots.bodies, request.caller)
        try:
            if expects_continue(request.scope):
                await self.serve_complete(request, partial(self.receive_expected, request, body))
                return
            is_there = await body.read_ahead(request.scope, self.read_ahead)
            if is_there:
                await self.serve_complete(request, body.receive)
        except Problem as problem:
            if body.has_arrived:
                raise
            await request.refuse(problem)
        finally:
            body.release()

    async def receive_expected(self, request: "AdmittedRequest", body: IncomingBody) -> Message:
        """Receive a part of a body that the client sends after a 100 (Continue). The first call reads ahead.

        Raises the problems of `IncomingBody.read_ahead`, and a 429 or 503 if there is no slot for the request any more.
        """
        if not body.has_begun:
            request.release_slot()
            await body.read_ahead(request.scope, self.read_ahead)
            if not request.takes_slot() and (refusal := await request.wait_for_slot()) is not None:
                raise refusal
        return await body.receive()

    async def serve_complete(self, request: "AdmittedRequest", receive: Receive) -> None:
        if not request.takes_slot() and (refusal := await request.wait_for_slot()) is not None:
            await request.refuse(refusal)
            return
        CURRENT_CALLER.set(request.caller)
        CURRENT_LANE.set(request.lane)
        request.scope[REQUESTS] = request.slots.requests
        try:
            await self.app(request.scope, receive, request.send)
        except Exception:
            if not request.is_refused:
                raise
        finally:
            request.leave()

    async def serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        slots, caller = self.slots, caller_of(scope, self.known)
        try:
            await self.admit_websocket(slots, caller)
        except Problem as problem:
            websocket = WebSocket(scope, receive, send)
            if DENIAL in scope.get("extensions", {}):
                await websocket.send_denial_response(render(scope, problem))
            else:
                await websocket.close(TRY_AGAIN_LATER)
            return
        CURRENT_CALLER.set(caller)
        try:
            await self.app(scope, receive, send)
        finally:
            slots.leave_stream(caller)

    async def admit_websocket(self, slots: Slots, caller: Caller) -> None:
        """Occupy a slot for a stream. Raises a 429 over the caller's quota, or a 503 if no slot is free."""
        if self.rates is not None:
            await self.rates.admit(caller)
        if not slots.enter_stream(caller):
            raise busy(TOO_MANY_STREAMS, "streams")


class AdmittedRequest:
    """A request with its slot. If the response is a stream, it is exchanged for a slot for streams."""

    headers: Sequence[Header] = ()
    """The header fields of the rate limits, which are added to the response."""
    is_stream = is_refused = has_slot = False

    def __init__(self, slots: Slots, caller: Caller, lane: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.slots, self.caller, self.lane = slots, caller, lane
        self.scope, self.receive, self.send_on = scope, receive, send

    async def send(self, message: Message) -> None:
        if self.is_refused:
            raise RefusedStreamError
        if message["type"] == "http.response.start":
            if starts_stream(message):
                await self.become_stream()
            if self.headers:
                message["headers"] = [*message["headers"], *self.headers]
        await self.send_on(message)

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Send a complete response by one call, as a `WholeSend`."""
        send_on = whole_send(self.send_on)
        return send_on is not None and send_on(status, [*headers, *self.headers], body)

    async def refuse(self, problem: Problem) -> None:
        await render(self.scope, problem)(self.scope, self.receive, self.send)

    def takes_slot(self) -> bool:
        self.has_slot = self.slots.requests.take(self.caller, self.lane)
        return self.has_slot

    async def wait_for_slot(self) -> Problem | None:
        """Wait up to `MAX_WAIT_SECONDS` for a slot. Returns None if the request got one, otherwise the refusal."""
        self.has_slot = await self.slots.requests.wait(self.caller, MAX_WAIT_SECONDS, self.lane)
        if self.has_slot:
            return None
        exceeds_share = self.slots.requests.exceeds_share(self.caller)
        return too_many() if exceeds_share else busy("Too many requests at once; try again.", "busy")

    def release_slot(self) -> None:
        if self.has_slot:
            self.slots.requests.release(self.caller, self.lane)
            self.has_slot = False

    async def become_stream(self) -> None:
        if not self.slots.enter_stream(self.caller):
            outcome = "not_applied" if self.scope["method"] in ("GET", "HEAD") else "unknown"
            await self.refuse(busy(TOO_MANY_STREAMS, "streams", outcome))
            self.is_refused = True
            raise RefusedStreamError
        self.release_slot()
        self.is_stream = True

    def leave(self) -> None:
        if self.is_stream:
            self.slots.leave_stream(self.caller)
        self.release_slot()


def has_body(scope: Scope) -> bool:
    """Return whether a request has a body (RFC 9112, section 6). A GET may have one too."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def starts_stream(message: Message) -> bool:
    """Return whether a message `http.response.start` begins a response of unknown length."""
    for name, _ in message.get("headers", ()):  # it is usually the first
        if name == b"content-length":
            return False
    return message["status"] not in WITHOUT_BODY
