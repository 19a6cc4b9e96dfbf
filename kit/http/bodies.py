"""Request bodies: reading with a minimum transfer rate, a maximum size and bounded memory, and their media types."""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import cached_property
from json import JSONDecodeError
from typing import Any, ClassVar, Self

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from kit.http.documents import MAX_VALUES, parse
from kit.http.fairness import Caller
from kit.http.problems import Problem, malformed, too_large, unavailable
from kit.http.received import ReceivedBody
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


class InvalidDocumentError(Problem, JSONDecodeError):
    """The 400 for a body that is not JSON. Handlers may also catch it as the JSONDecodeError of `Request.json`."""

    def __init__(self, problem: Problem) -> None:
        Problem.__init__(self, problem.status_code, problem.detail, kind=problem.kind)
        cause = problem.__cause__
        self.msg, self.doc, self.pos = problem.detail, getattr(cause, "doc", ""), getattr(cause, "pos", 0)


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
        self.is_complete = self.has_begun = self.has_arrived = False
        """`is_complete`: the whole body was received. `has_begun`, `has_arrived`: `read_ahead` has begun, has ended."""

    async def read_ahead(self, scope: Scope, limit: int) -> bool:
        """Read the body before the request is served. Returns False if the client has disconnected.

        It stops after `limit` bytes, and reads nothing if `Content-Length` is larger: such a body is refused later, or
        read by a handler for uploads. Raises a 408 if the body is slower than `MIN_RATE`, and a 429 or 503 if there is
        no memory for it.
        """
        self.has_begun = True
        if (body := whole_body(self.receive_on)) is not None:
            self.waiting.append({"type": "http.request", "body": body})
            self.size, self.is_complete, self.has_arrived = len(body), True, True
            return True
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

    def take_whole(self) -> bytes | None:
        """Return the body if one message that nobody has received yet contains it, otherwise None."""
        if not self.is_complete or len(self.waiting) != 1 or len(self.waiting[0].get("body", b"")) != self.size:
            return None
        body: bytes = self.waiting.popleft().get("body", b"")
        return body

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
    """A request with text in NFC, whose body can be read any number of times, also by requests on its `receive`.

    It is made from a request of Starlette by a change of its class, because exception handlers get the same object.
    """

    content: bytes | None = None
    """The body, after it was read. Empty if it was refused."""
    is_limited: ClassVar[bool] = False
    """Whether a body with more than `limit` bytes is refused. Otherwise it is not kept for other requests."""
    keeps_digits: ClassVar[bool] = False
    """Whether numbers of a JSON body keep the digits that a float does not (`WrittenNumber`)."""
    max_values: int = MAX_VALUES
    """The maximum number of values of a JSON body."""

    @property
    def limit(self) -> int:
        """The maximum size of a body that is kept, in bytes."""
        return sys.maxsize

    @classmethod
    def of_body(cls, scope: Scope, receive: Receive, body: bytes) -> Self:
        request = cls(scope, receive)
        request.content = body
        return request

    @property
    def receive(self) -> Receive:
        return self.received.reader()

    @cached_property
    def received(self) -> ReceivedBody:
        """The body as messages, for all its readers."""
        if self.content is not None:
            received = ReceivedBody(super().receive, len(self.content))
            received.keep({"type": "http.request", "body": self.content})
            return received
        announced = dict(self.scope["headers"]).get(b"content-length", b"")
        is_long = announced.isdigit() and int(announced) > self.limit
        return ReceivedBody(super().receive, self.limit, is_long=is_long, is_limited=self.is_limited)

    def keep(self, body: bytes) -> bytes:
        """Keep the body, and return it. Readers that have begun go on with the messages."""
        self.content = body
        vars(self).pop("received", None)
        return body

    async def read(self, header_map: Mapping[bytes, bytes], limit: int, *, is_shared: bool = True) -> bytes:
        """Return the body. Raises a 413, or a 400 if the client disconnects meanwhile.

        `is_shared`: others may read it meanwhile, such as the watcher for the disconnect of the client.
        """
        if self.content is not None:
            return self.content
        is_begun = "received" in vars(self)
        body = None if is_begun else whole_body(super().receive)
        receive = self.receive if is_shared or is_begun else super().receive
        try:
            if body is not None:
                return self.keep(bounded(body, limit))
            return self.keep(await read_body(receive, header_map, limit))
        except Problem:
            self.keep(b"")
            raise

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in chunks. Between two of them other requests are served, because form parsing takes long."""
        if self.content is None:
            async with aclosing(Request(self.scope, self.receive).stream()) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        for start in range(0, len(self.content), CHUNK):
            if start:
                await asyncio.sleep(0)
            yield self.content[start : start + CHUNK]
        yield b""

    async def body(self) -> bytes:
        return await self.receive_body() if self.content is None else self.content

    async def receive_body(self) -> bytes:
        """Receive the body, and return it. Called if it was not read before."""
        return self.keep(b"".join([chunk async for chunk in self.stream()]))

    async def json(self) -> Any:
        """Return the parsed body. Raises an InvalidDocumentError, and a 413 if it has too many values."""
        if not hasattr(self, "_parsed"):
            body = await self.body()
            try:
                self._parsed = parse(body, self.max_values, keeps_digits=self.keeps_digits)
            except Problem as problem:
                if problem.status_code != 400:
                    raise
                raise InvalidDocumentError(problem) from problem
        return self._parsed

    def form(self, **limits: Any) -> Any:
        """Return the parsed form, as an awaitable and context manager, with its text normalised to NFC."""
        return ComposedForm(super().form(**limits))

    @cached_property
    def probe(self) -> Request:
        """A request that receives the body only to find out whether the client has disconnected."""
        return Request(self.scope, self.received.reader(watches=True))

    async def is_disconnected(self) -> bool:
        return await (self.probe.is_disconnected() if self.content is None else super().is_disconnected())

    def attempts(self) -> Iterator[Request]:
        """Yield the request for each attempt: itself, then others, whose JSON and forms were not read yet."""
        yield self
        while True:
            request = self.of_body(self.scope, super().receive, self.content or b"")
            request.max_values = self.max_values
            yield request


def whole_body(receive: Receive) -> bytes | None:
    """Return the body if all of it has arrived, by the method `take_whole` of the object that has the method `receive`.

    It saves the message of the body, which takes a coroutine in each layer, and a timer. None: it has to be received.
    """
    take_whole = getattr(getattr(receive, "__self__", None), "take_whole", None)
    body: bytes | None = None if take_whole is None else take_whole()
    return body


def bounded(body: bytes, limit: int) -> bytes:
    """Return the body. Raises a 413 if it is larger than `limit` bytes."""
    if len(body) > limit:
        raise too_large(limit)
    return body


def expects_continue(scope: Scope) -> bool:
    """Return whether the client waits for a 100 (Continue) before it sends the body (RFC 9110, section 10.1.1).

    The server sends it when the application receives the first part of the body.
    """
    is_expected = any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])
    return is_expected and scope.get("http_version") != "1.0"


def refuse_announced(header_map: Mapping[bytes, bytes], limit: int) -> None:
    """Raise a 413 if the Content-Length in the headers is larger than `limit` bytes."""
    announced = header_map.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)


async def read_body(receive: Receive, header_map: Mapping[bytes, bytes], limit: int) -> bytes:
    """Read the whole body of a request with these headers.

    Raises a 413 if the body, or its Content-Length, is larger than `limit` bytes, and a 400 if the client disconnects.
    """
    refuse_announced(header_map, limit)
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


def refuse_other_than_json(header_map: Mapping[bytes, bytes], *, is_patch: bool = False) -> None:
    """Raise a 415 if the Content-Type is neither `application/json` nor `application/…+json`.

    That for a PATCH has `Accept-Patch` (RFC 5789, section 2.2).
    """
    if header_map.get(b"content-type") != b"application/json" and not is_json(header_map):
        headers = {"Accept": "application/json"} | ({"Accept-Patch": PATCHES} if is_patch else {})
        raise Problem(415, "The body must be application/json.", kind="unsupported-media-type", headers=headers)


def is_json(header_map: Mapping[bytes, bytes]) -> bool:
    """Return whether the Content-Type is `application/json` or `application/…+json`."""
    media_type = header_map.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def refuse_encoded(content_encodings: Iterable[str]) -> None:
    """Raise a 415 if a body has a coding other than `identity` (RFC 9110, section 8.4).

    `content_encodings` are the values of all `Content-Encoding` headers, each of them separated by commas.
    """
    codings = {coding.strip().lower() for line in content_encodings for coding in line.split(",")}
    if not codings <= {"", "identity"}:
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "The body may have no Content-Encoding.", kind="unsupported-media-type", headers=headers)
