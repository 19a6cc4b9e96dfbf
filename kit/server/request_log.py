"""The request log, the outermost middleware: request ids, response headers, log lines, and 500s for exceptions."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kit.auth.authentication import PRINCIPAL
from kit.http.bodies import expects_continue
from kit.http.codings import MIN_SIZE, VARIES, varies
from kit.http.events import COUNTS
from kit.http.problems import render
from kit.http.request_headers import RANGE, Header
from kit.http.traces import TRACE_ID
from kit.server.compression import Compression
from kit.server.failed_requests import problem_for
from kit.server.framework_refusals import TEXTS, as_problem, may_be_refusal
from kit.server.log_lines import CURRENT_TRACE, REQUEST_ID, fields_of, summary
from kit.server.log_writer import DROPPED, MAX_PENDING, LogWriter, SentResponse, writers
from kit.server.proxies import FORWARDED_PREFIX, Proxies
from kit.server.security_headers import ALWAYS, AUTHORIZATION, HSTS, NAMES, PRIVATE, missing
from kit.server.shutdown import Shutdown
from kit.server.trace_context import TRACE_HEADER, trace_id_of

log = logging.getLogger("kit")
PathOf = Callable[[Scope], str | None]
"""A function that returns the path of a request's route, such as `/invoices/{invoice_id}`; None without a route."""
Observer = Callable[[SentResponse], object]
WholeSend = Callable[[int, Sequence[Header], bytes], bool]
"""A function that sends a complete response (status, headers, body) by one call, without ASGI messages.

It returns False, without an effect, if the response has to be sent by messages.
"""
ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""The accepted values of `X-Request-ID`. A request with another value gets a new id."""
ID_HEADER, EXPECT = b"x-request-id", b"expect"
CLOSING = (b"connection", b"close")
NO_CONTENT, NOT_MODIFIED = 204, 304
CONTENT_TYPE, ACCEPT_ENCODING = b"content-type", b"accept-encoding"
LONG = len(str(MIN_SIZE))
"""The number of digits of `MIN_SIZE`. A `Content-Length` with fewer digits is not compressed."""
SHORT = 10 ** (LONG - 1)
"""Smaller bodies are compressed only for clients that refuse uncompressed ones, by a weight in `Accept-Encoding`."""
IS_LOGGED = "kit.is_logged"
"""The key in the ASGI scope by which a mounted service sees that an outer one has a request log already."""


class ResponseEndedError(OSError):
    """Raised by `send` after the response to HEAD is complete: an OSError, as after a disconnect (ASGI 2.4)."""


class RequestLog:
    """The ASGI middleware: sets request ids, adds response headers, logs responses, and responds to exceptions.

    A HEAD is served as the GET without its body (RFC 9110, section 9.3.2). `cross_origin` wraps an application in the
    middleware for CORS. `observers` are called with each response that has ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        shutdown: Shutdown,
        path_of: PathOf,
        proxies: Proxies,
        cross_origin: Callable[[ASGIApp], ASGIApp],
        observers: Sequence[Observer] = (),
    ) -> None:
        self.app, self.shutdown, self.path_of, self.proxies = app, shutdown, path_of, proxies
        self.cross_origin, self.observers = cross_origin, observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if IS_LOGGED in scope or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        exchange = self.begin(scope, send)
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        started, method = time.perf_counter(), scope["method"]
        inner = served_as_get(scope) if method == "HEAD" else scope
        if EXPECT in exchange.request_headers and expects_continue(scope):
            receive = exchange.receiving(receive)
        try:
            await self.app(inner, receive, exchange.send)
        except (Exception, asyncio.CancelledError) as failure:
            if not exchange.is_cut_off and not await self.responds_to_failure(failure, scope, receive, exchange):
                raise
        finally:
            self.end(exchange.sent_response(inner, method, self.path_of(inner), time.perf_counter() - started))

    def begin(self, scope: Scope, send: Send) -> "Exchange":
        """Set the id, the trace id and the proxy's prefix of a request, and return its exchange."""
        request_headers = dict(scope["headers"])
        if scope.get("root_path") or self.proxies.root_path or FORWARDED_PREFIX in request_headers:
            self.proxies.apply(scope)
        request_id = request_headers.get(ID_HEADER, b"").decode("latin-1")
        if not ACCEPTABLE_ID.fullmatch(request_id):
            request_id = f"{random.getrandbits(128):032x}"
            others = scope["headers"] if ID_HEADER not in request_headers else without(ID_HEADER, scope["headers"])
            scope["headers"] = [*others, (ID_HEADER, request_id.encode())]  # for other middleware that reads it
        scope[IS_LOGGED] = True
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        trace_id = scope.get(TRACE_ID)
        if trace_id is None and TRACE_HEADER in request_headers:
            trace_id = trace_id_of([value for name, value in scope["headers"] if name == TRACE_HEADER])
        if trace_id is not None:
            scope["state"]["trace_id"] = trace_id
        CURRENT_TRACE.set(trace_id)
        return Exchange(scope, request_headers, send, request_id, self.shutdown)

    def end(self, sent: SentResponse) -> None:
        """Pass a response that has ended to the observers, and log it."""
        for observe in self.observers:
            observe(sent)
        if log.isEnabledFor(logging.INFO):
            log_response(sent)

    async def responds_to_failure(
        self, failure: BaseException, scope: Scope, receive: Receive, exchange: "Exchange"
    ) -> bool:
        """Respond to a request that ended with an exception, if its response has not begun.

        Returns False if the exception is to be raised again: so that the server closes the connection of an incomplete
        response, or, without a server, for a test.
        """
        problem = problem_for(failure, self.shutdown)
        if exchange.status == 0 and problem is not None:
            await self.cross_origin(render(scope, problem))(scope, receive, exchange.send)
            return True
        return exchange.is_complete and isinstance(failure, Exception) and self.shutdown.has_server


class Exchange:
    """The state of the response to a request, and its `send`. The status is 0 until the response starts."""

    def __init__(
        self, scope: Scope, request_headers: Mapping[bytes, bytes], send: Send, request_id: str, shutdown: Shutdown
    ) -> None:
        self.scope, self.request_headers, self.send_on, self.shutdown = scope, request_headers, send, shutdown
        self.is_head, self.request_id = scope.get("method") == "HEAD", request_id
        self.status = self.size = 0
        """`size`: the number of bytes of the body that were sent."""
        self.is_expected = False
        """Whether the client waits for a 100 (Continue), and may send the next request without the body otherwise."""
        self.is_complete = self.is_cut_off = False
        """`is_cut_off`: `send` has raised a `ResponseEndedError`, because the response to HEAD was complete."""
        self.compression: Compression | None = None
        self.withheld: Message | None = None
        """The start of a response, held back because it may be FastAPI's refusal of a too large body."""

    def receiving(self, receive: Receive) -> Receive:
        """Return a function that receives the body for which the client waits for a 100 (Continue)."""
        self.is_expected = True

        async def receive_expected() -> Message:
            self.is_expected = False
            return await receive()

        return receive_expected

    async def send(self, message: Message) -> None:
        """Send a message of the application, compressed if the body is suitable and the client accepts it."""
        if message["type"] == "http.response.start" and self.may_be_compressed(message):
            lines = [value for name, value in self.scope["headers"] if name == ACCEPT_ENCODING]
            self.compression = Compression(self.complete, b",".join(lines), self.scope["http_version"])
        await (self.complete(message) if self.compression is None else self.compression.send(message))

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Send a complete response by one call, as a `WholeSend`, if only headers have to be added."""
        send_on = whole_send(self.send_on)
        if (
            send_on is None
            or self.is_head
            or self.status
            or (ACCEPT_ENCODING in self.request_headers and len(body) >= SHORT)
        ):
            return False
        self.status = status
        if not send_on(status, self.completed(headers), body):
            self.status = 0
            return False
        self.size, self.is_complete = len(body), True
        return True

    def may_be_compressed(self, start: Message) -> bool:
        if ACCEPT_ENCODING not in self.request_headers:
            return False
        if start["status"] == NOT_MODIFIED:
            return VARIES in start["headers"]
        return (
            is_long(dict(start["headers"])) or b";" in self.request_headers[ACCEPT_ENCODING]
        )  # may refuse plain bodies

    async def complete(self, message: Message) -> None:
        """Send a message, and add headers to the start of the response."""
        if message["type"] == "http.response.start":
            if message["status"] in TEXTS and may_be_refusal(message):
                self.withheld = message
                return
            self.status = message["status"]
            message["headers"] = self.completed(message["headers"])
        elif message["type"] == "http.response.body":
            if self.withheld is not None:
                message = await self.released(self.withheld, message)
            message = self.without_body() if self.is_head else message
            self.is_complete = not message.get("more_body", False)
            self.size += len(message.get("body", b""))
        await self.send_on(message)

    def sent_response(self, scope: Scope, method: str, route: str | None, seconds: float) -> SentResponse:
        """Return the data of the response, for the log and for observers."""
        principal, state = scope.get(PRINCIPAL), scope["state"]
        caller = None if principal is None else principal.id
        identity = caller, self.request_id, state.get("trace_id")
        return time.time(), method, route, self.status, seconds, self.size, *identity

    async def released(self, start: Message, body: Message) -> Message:
        """Send the start that was held back, and return the body. FastAPI's refusal is replaced by a problem."""
        self.withheld = None
        start, body = as_problem(self.scope, start, body)
        self.status = start["status"]
        await self.send_on({**start, "headers": self.completed(start["headers"])})
        return body

    def completed(self, headers: Iterable[Header]) -> list[Header]:
        """Return the headers of the response, completed by the request id, security headers and others."""
        completed, by_name = [*headers], dict(headers)
        if ID_HEADER in by_name:
            self.use_id(by_name[ID_HEADER].decode("latin-1"))
        else:
            completed.append((ID_HEADER, self.request_id.encode()))
        if self.status == NO_CONTENT:  # it has no content, and so no Content-Type (RFC 9110, section 8.3)
            completed = [header for header in completed if header[0] != CONTENT_TYPE]
        is_page = by_name.get(b"content-type", b"").startswith(b"text/html")
        completed += missing(by_name, is_page=is_page) if is_page or not NAMES.isdisjoint(by_name) else ALWAYS
        if is_long(by_name) and varies(by_name):
            completed.append(VARIES)
        if PRIVATE[0] not in by_name and AUTHORIZATION in self.request_headers:
            completed.append(PRIVATE)
        if self.scope.get("scheme") == "https" and HSTS[0] not in by_name:
            completed.append(HSTS)
        if self.shutdown.has_begun or self.is_expected:
            completed.append(CLOSING)
        return completed

    def use_id(self, request_id: str) -> None:
        """Log the id that code of the application has set in the response, in place of that of the request."""
        if ACCEPTABLE_ID.fullmatch(request_id):
            self.request_id = request_id

    def without_body(self) -> Message:
        """Return the last message of the response to HEAD. For further messages, raise a ResponseEndedError."""
        if self.is_complete:
            self.is_cut_off = True
            raise ResponseEndedError
        return {"type": "http.response.body", "body": b""}


def served_as_get(scope: Scope) -> Scope:
    """Return the scope in which a HEAD is served: a range is defined for GET only (RFC 9110, section 14.2)."""
    return {**scope, "method": "GET", "headers": without(RANGE, scope["headers"])}


def without(name: bytes, headers: Iterable[Header]) -> list[Header]:
    return [header for header in headers if header[0] != name]


def whole_send(send: Send) -> WholeSend | None:
    """Return the method `send_whole` of the object to which a method `send` belongs; None if it has none.

    It saves the two messages of a response, each of which takes a coroutine in every layer.
    """
    found: WholeSend | None = getattr(getattr(send, "__self__", None), "send_whole", None)
    return found


def is_long(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the body of a response may be long enough to be compressed, by the digits of its length."""
    return len(headers.get(b"content-length", b"")) >= LONG


def takes_all(writer: LogWriter) -> bool:
    """Return whether the log writer is the only handler of the log, with its own formatter and without filters."""
    is_own = writer.formatter is writer.own_formatter and not writer.filters and writer.level <= logging.INFO
    return is_own and log.handlers == [writer] and not log.propagate and not log.filters


def log_response(sent: SentResponse) -> None:
    """Log a response. If the log writer is the only handler, it only gets the data, and its thread makes the line."""
    writer = writers[0] if writers else None
    if writer is None or writer.thread is None or not takes_all(writer):
        REQUEST_ID.set(sent[-2])  # the response may have another id than the request
        log.info("%s", summary(sent), extra=fields_of(sent))
    elif len(writer.pending) < MAX_PENDING:
        writer.pending.append(sent)
        if writer.is_idle:
            writer.wake.set()
    else:
        COUNTS[DROPPED] += 1
