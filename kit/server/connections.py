"""Connections: bounds on the size, the number and the time of request heads, and on slow readers, under uvicorn.

uvicorn's protocol for httptools has none of these bounds, so one client could hold memory and connections without
limit. `Service` replaces it by this protocol at start, also if gunicorn runs uvicorn. This protocol overrides the
callbacks of httptools and of `asyncio.Protocol`, and leaves the rest to uvicorn.
"""

import asyncio
import http
import resource
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import httptools
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kit.server.head_refusals import refusal
from kit.server.proxies import FROM_PROXY
from kit.server.transports import JoiningTransport

SPARE_FILES = 256
"""File descriptors reserved for other uses, such as the database and logs."""
FRAMING_PER_BODY = 16
"""Bytes of chunk sizes, chunk extensions and trailers that are accepted for each byte of the body."""
Idle = dict["BoundedConnection", None]


class RefusedHeadError(Exception):
    """Raised in a callback of the parser to end it."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if its client sends too much, sends too slowly, or does not read its response."""

    head_seconds: ClassVar[float] = 10
    """The longest time for a complete head, from its first byte or from the start of the connection, in seconds."""
    stall_seconds: ClassVar[float] = 30
    """The longest time in which a client reads nothing of its response, in seconds."""
    max_head: ClassVar[int] = 65_536
    """The largest size of the request line and the headers, in bytes."""
    max_headers: ClassVar[int] = 100
    max_connections: ClassVar[int] = max(SPARE_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
    """The largest number of connections. A new one replaces the connection with the longest idle time."""
    idle_of: ClassVar[WeakKeyDictionary[ServerState, Idle]] = WeakKeyDictionary()
    """The idle connections of each server, in the order in which they became idle."""

    idle: Idle
    head_timer: asyncio.TimerHandle | None = None
    stall_timer: asyncio.TimerHandle | None = None
    status_of_refusal = http.HTTPStatus.BAD_REQUEST
    is_in_head = has_begun = is_from_proxy = False
    head_size = framing = body_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(JoiningTransport(transport, self.loop))
        self.is_from_proxy = comes_from_proxy(self.config, self.client)
        self.idle = self.idle_of.setdefault(self.server_state, {})
        if len(self.connections) > self.max_connections:
            self.replace_idle()
        self.idle[self] = None
        self.head_timer = self.loop.call_later(self.head_seconds, self.end_slow_head)

    def replace_idle(self) -> None:
        """Abort the connection with the longest idle time; this one if none is idle."""
        oldest = next(iter(self.idle), self)
        self.idle.pop(oldest, None)
        oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.pop(self, None)
        self.cancel_timers()
        super().connection_lost(exc)

    def cancel_timers(self) -> None:
        for timer in (self.head_timer, self.stall_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.has_begun, self.body_size = False, 0
        super().data_received(data)
        if not self.has_begun:
            self.count_framing(data)
        if (self.is_in_head or self.is_idle) and self.head_timer is None and not self.transport.is_closing():
            self.head_timer = self.loop.call_later(self.head_seconds, self.end_slow_head)

    def count_framing(self, data: bytes) -> None:
        """Bound the bytes outside of bodies: incomplete headers, chunk extensions, trailers."""
        self.framing = max(0, self.framing + len(data) - self.body_size * (1 + FRAMING_PER_BODY))
        if self.framing > self.max_head and not self.transport.is_closing():
            self.status_of_refusal = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.send_400_response("")

    @property
    def is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def end_slow_head(self) -> None:
        """Close a connection without a complete head in time, with a 408 if the head has begun."""
        self.head_timer = None
        if self.is_in_head and self.is_idle:
            self.status_of_refusal = http.HTTPStatus.REQUEST_TIMEOUT
            self.send_400_response("")
        else:
            self.transport.close()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        self.has_begun = self.is_in_head = True
        self.head_size = self.framing = 0
        super().on_message_begin()
        self.scope[FROM_PROXY] = self.is_from_proxy  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.max_head:
            self.refuse(http.HTTPStatus.REQUEST_URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers are dropped: they arrive after the checks of headers (RFC 9110, section 6.5.1)."""
        if not self.is_in_head:
            return
        super().on_header(name, value)
        self.head_size += len(name) + len(value)
        if self.head_size > self.max_head or len(self.headers) > self.max_headers:
            self.refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        self.idle.pop(self, None)
        if not self.has_clear_host():
            self.refuse(http.HTTPStatus.BAD_REQUEST)
        super().on_headers_complete()

    def has_clear_host(self) -> bool:
        """Return whether the head names one host, as proxies understand it too (RFC 9112, section 3.2)."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1:
            return not hosts and self.parser.get_http_version() == "1.0"
        return self.url.startswith((b"/", b"*")) or hosts[0].lower() in hosts_of(self.url)

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        super().on_body(body)

    def refuse(self, status: http.HTTPStatus) -> None:
        self.status_of_refusal = status
        raise RefusedHeadError

    # Responses

    def send_400_response(self, msg: str) -> None:
        """Refuse an unreadable request with a problem document, and close the connection.

        A running response on the same connection is completed before.
        """
        if not self.is_idle and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.is_idle or not self.cycle.response_started:
            self.transport.write(refusal(self.status_of_refusal))
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle[self] = None
        if self.stall_timer is None and self.transport.get_write_buffer_size():
            self.watch_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.stall_timer is None:
            self.watch_reader()

    def watch_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self.stall_timer = self.loop.call_later(self.stall_seconds, self.end_stalled, waiting)

    def end_stalled(self, before: int) -> None:
        """Abort the connection of a client that has read nothing since `before`."""
        self.stall_timer = None
        waiting = self.transport.get_write_buffer_size()
        if waiting >= before > 0:
            self.transport.abort()
        elif waiting:
            self.watch_reader()

    def handle_websocket_upgrade(self) -> None:
        self.cancel_timers()
        assert isinstance(self.transport, JoiningTransport)
        self.transport = self.transport.transport
        super().handle_websocket_upgrade()


def hosts_of(url: bytes) -> tuple[bytes, ...]:
    """Return the host in a target of absolute form, without and with its port."""
    target = httptools.parse_url(url)
    host = (target.host or b"").lower()
    return host, b"%b:%d" % (host, target.port or 80)


def comes_from_proxy(config: Any, client: tuple[str, int] | None) -> bool:
    """Return whether uvicorn believes the headers of a client as those of a proxy."""
    app = config.loaded_app
    is_believing = isinstance(app, ProxyHeadersMiddleware)
    return is_believing and (client[0] if client else None) in app.trusted_hosts


def bound_connections(config: Any, kind: type[BoundedConnection] = BoundedConnection) -> None:
    """Use this protocol for the connections of a uvicorn server that uses uvicorn's own for httptools."""
    if config.loaded and issubclass(kind, config.http_protocol_class):
        config.http_protocol_class = kind
