"""Connections: complete bodies are read, and complete responses written, by one call, without ASGI messages.

uvicorn would examine each header of the first message of a response, and write head and body separately.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from kit.http.request_headers import Header
from kit.server.connections import BoundedConnection
from kit.server.transports import JoiningTransport

INVALID = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""The bytes that a header value must not contain (RFC 9110, section 5.5)."""


class WholeCycle(RequestResponseCycle):
    """uvicorn's cycle of one request and its response, extended by `send_whole`."""

    transport: JoiningTransport
    heads: ClassVar[tuple[Any, dict[int, bytes]]] = (None, {})
    """A cache: uvicorn's default headers, which change every second, and by status the first lines of a response."""

    def take_whole(self) -> bytes | None:
        """Return the body if all of it has arrived, as `receive` would. Otherwise return None, and change nothing."""
        if self.more_body or self.disconnected or self.response_complete or self.waiting_for_100_continue:
            return None
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return body

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Send a complete response. Returns False, without an effect, if it has to be sent by ASGI messages.

        The names of `headers` are in lower case. They include `content-length` if the response has a body.
        """
        is_open = self.keep_alive and not (self.disconnected or self.flow.write_paused)
        if not is_open or self.response_started or self.access_log or self.scope["method"] == "HEAD":
            return False
        values = dict(headers)
        if b"connection" in values or INVALID.search(b"".join(values.values())):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write_whole(b"".join((self.head(status), *lines, b"\r\n", body)))
        self.message_event.set()
        self.on_response()
        return True

    def head(self, status: int) -> bytes:
        """Return the status line and uvicorn's default headers (`date`, `server`)."""
        headers, heads = WholeCycle.heads
        if headers is not self.default_headers:
            headers, heads = WholeCycle.heads = self.default_headers, {}
        if status not in heads:
            lines = [b"%b: %b\r\n" % (name.lower(), value) for name, value in headers]
            heads[status] = b"".join((STATUS_LINE[status], *lines))
        return heads[status]


class FastConnection(BoundedConnection):
    """A connection whose responses may be sent by `WholeCycle.send_whole`."""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" or not self.is_in_head:
            super().on_header(name, value)
            return
        self.headers.append((name, value))
        self.head_size += len(name) + len(value)
        if self.head_size > self.max_head or len(self.headers) > self.max_headers:
            super().on_header(name, value)  # refuses the request, whose head is too large

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if type(self.cycle) is RequestResponseCycle:
            self.cycle.__class__ = WholeCycle  # uvicorn has no setting for the class


class ProbeTransport(JoiningTransport):
    """A transport that stores the bytes written to it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    write_whole = write

    def resume_reading(self) -> None:
        """Do nothing: it reads nothing."""


def check_whole_responses() -> None:
    """Check that `send_whole` writes the same bytes as uvicorn's `send`, and leaves the same state."""
    headers = [(b"content-length", b"4"), (b"etag", b'"1"')]
    for status in (200, 404, 201):
        plain, whole = cycle_of(RequestResponseCycle), cycle_of(WholeCycle)
        for message in (
            {"type": "http.response.start", "status": status, "headers": headers},
            {"type": "http.response.body", "body": b"body"},
        ):
            step = plain.send(message)  # type: ignore[arg-type]
            assert next(step.__await__(), None) is None, "uvicorn does not wait"
        assert isinstance(whole, WholeCycle)
        assert whole.send_whole(status, headers, b"body"), "it is sent"
        assert vars(whole)["transport"].written == vars(plain)["transport"].written, "the same bytes are written"
        assert state_of(whole) == state_of(plain), "the state is the same"
        assert whole.message_event.is_set(), "a reader learns the end"


def check_whole_bodies() -> None:
    """Check that `take_whole` returns the body that uvicorn's `receive` returns, and leaves the same state."""
    plain, whole = cycle_of(RequestResponseCycle), cycle_of(WholeCycle)
    assert isinstance(whole, WholeCycle)
    assert whole.take_whole() is None, "the body is not complete"
    for cycle in (plain, whole):
        cycle.flow = FlowControl(ProbeTransport())
        cycle.waiting_for_100_continue = False
        cycle.body += b"body"
        cycle.more_body = False
        cycle.message_event.set()
    try:
        plain.receive().send(None)
    except StopIteration as end:
        message = end.value
    assert (whole.take_whole(), False) == (message["body"], message["more_body"]), "the body is the same"
    assert state_of(whole) == state_of(plain), "the state is the same"
    assert not plain.message_event.is_set(), "uvicorn waits for the next message"
    assert not whole.message_event.is_set(), "the next message is waited for"


def cycle_of(kind: type[RequestResponseCycle]) -> RequestResponseCycle:
    default = [(b"date", b"today"), (b"server", b"uvicorn")]
    options: Any = dict.fromkeys(("flow", "logger", "access_logger"))
    options["flow"] = type("Flow", (), {"write_paused": False})()
    return kind(
        scope={"method": "GET"},  # type: ignore[typeddict-item]
        transport=ProbeTransport(),
        access_log=False,
        default_headers=default,
        message_event=asyncio.Event(),
        expect_100_continue=True,
        keep_alive=True,
        on_response=lambda: None,
        **options,
    )


def state_of(cycle: RequestResponseCycle) -> dict[str, Any]:
    others = ("flow", "transport", "message_event", "on_response", "expected_content_length", "chunked_encoding")
    return {name: value for name, value in vars(cycle).items() if name not in others}
