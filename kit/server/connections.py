"""Connections under uvicorn: limits for the size and duration of request heads, for connections, and slow readers.

uvicorn's protocol for httptools has no such limits, so a client could occupy any amount of memory and connections.
`Service` replaces it by this protocol at start, also if gunicorn runs uvicorn. It overrides the callbacks of httptools
and of `asyncio.Protocol`; the rest is uvicorn's.
"""

import asyncio
import resource
import sys
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from httptools import HttpParserUpgrade
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kit.server import heads
from kit.server.head_refusals import LARGE_HEAD, LONG_TARGET, SLOW, Refusal, refuse
from kit.server.proxies import FROM_PROXY
from kit.server.transports import JoiningTransport

SPARE_FILES = 256
"""The number of file descriptors that are reserved for other uses, such as the database and logs."""
FRAMING_PER_BODY = 16
"""The maximum number of bytes of chunk sizes, chunk extensions and trailers for each byte of a body."""
Idle = dict["BoundedConnection", None]


class RefusedHeadError(Exception):
    """Raised in a callback of the parser to stop parsing a request that is refused."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed if its client sends too much, sends too slowly, or does not read its response."""

    head_seconds: ClassVar[float] = 10
    """The timeout of a request head, in seconds from its first byte or from the start of the connection."""
    stall_seconds: ClassVar[float] = 30
    """The timeout, in seconds, of a client that reads nothing of its response."""
    max_head: ClassVar[int] = 65_536
    """The maximum size of the request target, and of all headers, in bytes."""
    max_headers: ClassVar[int] = 100
    max_connections: ClassVar[int] = max(SPARE_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES)
    """The maximum number of connections. Beyond it, a new one replaces the connection with the longest idle time."""
    idle_of: ClassVar[WeakKeyDictionary[ServerState, Idle]] = WeakKeyDictionary()
    """The idle connections by server, in the order in which they became idle."""

    idle: Idle
    head_timer: asyncio.TimerHandle | None = None
    stall_timer: asyncio.TimerHandle | None = None
    refused: Refusal | None = None
    """The reason for a refusal; None for what the parser refuses."""
    received = b""
    """The data that the parser reads at this moment."""
    is_in_head = has_begun = is_from_proxy = False
    skips_body = resumes_body = False
    """Whether the parser leaves out the body of this request because of its `Upgrade`, and whether it resumes there."""
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
        """Abort the connection with the longest idle time; if none is idle, this one."""
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
        self.has_begun, self.body_size, self.received = False, 0, data
        super().data_received(data)
        self.received = b""
        if not self.has_begun:
            self.count_framing(data)
        if (self.is_in_head or self.is_idle) and self.head_timer is None and not self.transport.is_closing():
            self.head_timer = self.loop.call_later(self.head_seconds, self.end_slow_head)

    def count_framing(self, data: bytes) -> None:
        """Count the bytes outside of bodies (incomplete headers, chunk extensions, trailers), and refuse too many."""
        self.framing = max(0, self.framing + len(data) - self.body_size * (1 + FRAMING_PER_BODY))
        if self.framing > self.max_head and not self.transport.is_closing():
            self.refused = LARGE_HEAD
            self.send_400_response("")

    @property
    def is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def end_slow_head(self) -> None:
        """Close a connection whose head was not complete within `head_seconds`; with a 408 if the head has begun."""
        self.head_timer = None
        if self.is_in_head and self.is_idle:
            self.refused = SLOW
            self.send_400_response("")
        else:
            self.transport.close()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self.resumes_body:
            return
        self.has_begun = self.is_in_head = True
        self.head_size = self.framing = 0
        super().on_message_begin()
        self.scope[FROM_PROXY] = self.is_from_proxy  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        if self.resumes_body:
            return
        super().on_url(url)
        if len(self.url) > self.max_head:
            self.refuse(LONG_TARGET)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers are dropped, because headers were checked before them (RFC 9110, section 6.5.1)."""
        if not self.is_in_head:
            return
        super().on_header(name, value)
        self.head_size += len(name) + len(value)
        if self.head_size > self.max_head or len(self.headers) > self.max_headers:
            self.refuse(LARGE_HEAD)

    def on_headers_complete(self) -> None:
        if self.resumes_body:
            self.resumes_body = False
            return
        version = self.parser.get_http_version()
        fault = heads.fault_of(version, self.url, self.headers)
        if fault is not None:
            self.refuse(fault)
        self.end_head()
        self.idle.pop(self, None)
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1
        if self.url[:1] != b"/":
            self.use_origin_form()
        if self.parser.should_upgrade() and not self._should_upgrade():
            self.skips_body = bool(heads.framing_of(self.headers))
        super().on_headers_complete()

    def end_head(self) -> None:
        self.is_in_head = False
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def use_origin_form(self) -> None:
        """Replace an absolute target by its origin form, and add its host to a head of HTTP/1.0 that has none."""
        host, self.url = heads.origin_form(self.parser.get_method(), self.url)
        if host and all(name != b"host" for name, _ in self.headers):
            self.headers.append((b"host", host))

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.skips_body:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore an `Upgrade` to anything but a supported WebSocket (RFC 9110, section 7.8).

        uvicorn calls this after the head of such a request, whose body the parser leaves out and would read as the next
        request. It resumes after a head that only describes the body.
        """
        upgrade = sys.exception()
        assert isinstance(upgrade, HttpParserUpgrade)
        rest = self.received[upgrade.args[0] :]
        if self.skips_body:
            self.skips_body, self.resumes_body = False, True
            rest = b"POST / HTTP/1.1\r\n%b\r\n" % heads.framing_of(self.headers) + rest
        if self._get_upgrade() == b"websocket":
            super()._unsupported_upgrade_warning()
        if rest:
            self.received = rest
            super().data_received(rest)

    def refuse(self, fault: Refusal) -> None:
        self.refused = fault
        raise RefusedHeadError

    # Responses

    def send_400_response(self, msg: str) -> None:
        """Send a problem (RFC 9457) for a request that cannot be read, and close the connection.

        If a response is being sent on the connection, it is completed before.
        """
        if not self.is_idle and not self.cycle.more_body:
            self.end_head()
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.is_idle or not self.cycle.response_started:
            self.transport.write(self.refusal())
        self.transport.close()

    def refusal(self) -> bytes:
        """Return the response to a request that is refused, with what is known of the request."""
        is_known = self.is_in_head or not self.is_idle
        headers, url, state = (self.headers, self.url, self.scope["state"]) if is_known else ([], b"", {})
        unread, target = heads.unreadable(self.received, sys.exception())
        refused = self.refused or unread
        method = self.parser.get_method().decode() if url else "-"  # the parser has a method before it has read one
        scope = {"type": "http", "method": method, "headers": headers, "root_path": self.root_path, "state": state}
        target = url if headers or refused is LONG_TARGET else target  # before the headers, it may be incomplete
        return refuse(refused, scope, heads.path_of(target), self.server_state.default_headers)

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
        """Abort the connection if the client has read nothing since there were `before` bytes in the write buffer."""
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


def comes_from_proxy(config: Any, client: tuple[str, int] | None) -> bool:
    """Return whether the client is a proxy whose headers uvicorn trusts (`--forwarded-allow-ips`)."""
    app = config.loaded_app
    is_believing = isinstance(app, ProxyHeadersMiddleware)
    return is_believing and (client[0] if client else None) in app.trusted_hosts


def bound_connections(config: Any, kind: type[BoundedConnection] = BoundedConnection) -> None:
    """Let a uvicorn server use the protocol `kind` for new connections, if it uses uvicorn's own for httptools."""
    if config.loaded and issubclass(kind, config.http_protocol_class):
        config.http_protocol_class = kind
