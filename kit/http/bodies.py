"""Request bodies: reading with a minimum transfer rate, a maximum size and bounded memory, and their media types."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from kit.http.documents import MAX_VALUES, parse
from kit.http.fairness import Caller
from kit.http.problems import Problem, malformed, too_large, unavailable
from kit.http.texts import ComposedForm

GRACE_SECONDS = 5.0
"""The time for a body in seconds, in addition to the time that it takes at `MIN_RATE`."""
MIN_RATE = 16_384
"""The minimum transfer rate of a body, in bytes per second."""
MAX_MEMORY = 67_108_864
"""The maximum number of bytes, in each event loop, of bodies that have arrived in part."""
PATCHES = "application/json, application/merge-patch+json"
"""The media types of the body of a PATCH."""
CHUNK = 65_536
"""The number of bytes of a body that a form parser gets at a time."""


class BodyMemory:
    """Counts the memory for bodies that arrive in several parts. One caller may use `caller_share` (0 to 1) of it."""

    def __init__(self, caller_share: float) -> None:
        self.per_caller, self.used = MAX_MEMORY * caller_share, Counter[Caller]()

    def take(self, caller: Caller, size: int) -> None:
        """Reserve `size` bytes. Raises a 429 over the share of the caller, and a 503 over `MAX_MEMORY`."""
        if self.used[caller] + size > self.per_caller:
            detail = "You send too many bodies at once; try again."
            raise Problem(429, detail, kind="too-many-requests", headers={"Retry-After": "1", "Connection": "close"})
        if self.used.total() + size > MAX_MEMORY:
            raise unavailable("not_applied", "Too many bodies at once; try again.")
        self.used[caller] += size

    def release(self, caller: Caller, size: int) -> None:
        self.used[caller] -= size
        if not self.used[caller]:
            del self.used[caller]


class IncomingBody:
    """The body of a request. It is read before the request is served, except a long one, which is read meanwhile."""

    def __init__(self, receive: Receive, memory: BodyMemory, caller: Caller) -> None:
        self.receive_on, self.memory, self.caller = receive, memory, caller
        self.waiting: deque[Message] = deque()
        self.reserved = self.size = 0
        self.is_complete = self.has_arrived = False
        """`is_complete`: the whole body was received. `has_arrived`: `read_ahead` has ended."""

    async def read_ahead(self, scope: Scope, limit: int) -> bool:
        """Read the body before the request is served. Returns False if the client has disconnected.

        It stops after `limit` bytes, and reads nothing if `Content-Length` is larger: such a body is refused later, or
        read by a handler for uploads. Raises a 408 if the body is slower than `MIN_RATE`, and a 429 or 503 if there is
        no memory for it.
        """
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        is_long = not announced.isdigit() or int(announced) > limit
        self.started = asyncio.get_running_loop().time()
        while not self.is_complete and self.size <= limit and not is_long:
            message = await self.next_message()
            if message["type"] == "http.disconnect":
                return False
            self.waiting.append(message)
            if not self.is_complete:
                self.reserve(len(message.get("body", b"")))
        self.has_arrived = True
        return True

    async def receive(self) -> Message:
        if self.waiting:
            return self.waiting.popleft()
        return await (self.receive_on() if self.is_complete else self.next_message())

    async def next_message(self) -> Message:
        try:
            async with asyncio.timeout_at(self.started + GRACE_SECONDS + self.size / MIN_RATE):
                message = await self.receive_on()
        except TimeoutError:
            detail = f"The body has to arrive with {MIN_RATE} bytes per second."
            raise Problem(408, detail, kind="request-timeout", headers={"Connection": "close"}) from None
        self.size += len(message.get("body", b""))
        self.is_complete = not message.get("more_body", False)
        return message

    def reserve(self, size: int) -> None:
        """Reserve memory for a part of a body, until `release`. Raises a 429 or 503."""
        self.memory.take(self.caller, size)
        self.reserved += size

    def release(self) -> None:
        if self.reserved:
            self.memory.release(self.caller, self.reserved)


class BufferedRequest(Request):
    """A request with a buffered body, which each attempt to serve the request can read again.

    A JSON body may have at most `max_values` values.
    """

    def __init__(self, scope: Scope, receive: Receive, body: bytes, max_values: int = MAX_VALUES) -> None:
        super().__init__(scope, receive)
        self._content, self._connection, self._max_values = body, receive, max_values
        self._is_used = False

    def next_attempt(self) -> "BufferedRequest":
        """Return the request for the next attempt: itself the first time, then a copy whose body was not read yet."""
        if self._is_used:
            request = BufferedRequest(self.scope, self._connection, self._content, self._max_values)
            return request.next_attempt()
        self._is_used = True
        return self

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in chunks. Between two of them other requests are served, because form parsing takes long."""
        for start in range(0, len(self._content), CHUNK):
            if start:
                await asyncio.sleep(0)
            yield self._content[start : start + CHUNK]
        yield b""

    def form(self, **limits: Any) -> Any:
        """Return the parsed form, as an awaitable and context manager, with its text normalised to NFC."""
        return ComposedForm(super().form(**limits))

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        """Return the parsed body. Raises a 400 if it is not JSON, and a 413 if it has too many values."""
        if not hasattr(self, "_parsed"):
            self._parsed = parse(self._content, self._max_values)
        return self._parsed


async def read_body(receive: Receive, given: Mapping[bytes, bytes], limit: int) -> bytes:
    """Read the whole body. `given` are the headers of the request.

    Raises a 413 if the body, or its Content-Length, is larger than `limit` bytes, and a 400 if the client disconnects.
    """
    announced = given.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)
    body, is_complete = bytearray(), False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise malformed("The body ended early.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        is_complete = not message.get("more_body", False)
    return bytes(body)


def refuse_other_than_json(given: Mapping[bytes, bytes], *, is_patch: bool = False) -> None:
    """Raise a 415 if the Content-Type is neither `application/json` nor `application/…+json`.

    That for a PATCH has `Accept-Patch` (RFC 5789, section 2.2).
    """
    if given.get(b"content-type") != b"application/json" and not is_json(given):
        headers = {"Accept": "application/json"} | ({"Accept-Patch": PATCHES} if is_patch else {})
        raise Problem(415, "The body must be application/json.", kind="unsupported-media-type", headers=headers)


def is_json(given: Mapping[bytes, bytes]) -> bool:
    """Return whether the Content-Type is `application/json` or `application/…+json`."""
    media_type = given.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def refuse_encoded(content_encodings: Iterable[str]) -> None:
    """Raise a 415 if a body has a coding other than `identity` (RFC 9110, section 8.4).

    `content_encodings` are the values of all `Content-Encoding` headers, each of them separated by commas.
    """
    codings = {coding.strip().lower() for line in content_encodings for coding in line.split(",")}
    if not codings <= {"", "identity"}:
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "The body may have no Content-Encoding.", kind="unsupported-media-type", headers=headers)
