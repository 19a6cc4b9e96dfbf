"""Compression of responses by gzip, for clients that accept it.

A response is compressed if it is text of a known length. Streams and server-sent events are not, because compression
would delay their parts. The lowest level with a window of 8 KiB takes 8 µs for 1 KiB, 44 µs for 10 KiB and 0.6 ms for
100 KiB, and reduces them to a quarter. The default window would take eight times as long for 1 KiB. The default level
would take three times as long for 100 KiB, and reduce them to a fifth.
"""

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor

from starlette.types import Message, Send

from kit.http.codings import VARIES, AcceptedCoding, accepted_coding, may_be_compressed, varies, weakened
from kit.http.request_headers import Header

LEVEL, WINDOW, MEMORY = 1, 16 + 13, 6
"""zlib's `level` (the lowest), `wbits` (a window of 2¹³ bytes, in gzip format) and `memLevel`."""
AT_ONCE = 65_536
"""The maximum size of a body that is compressed in the event loop, in 0.4 ms. Threads compress larger ones."""
threads = ThreadPoolExecutor(2, "gzip")
NOT_COMPRESSED = (b"content-encoding", b"content-length")


class Compression:
    """The `send` of a response, which compresses the body if it is suitable and the client accepts it."""

    def __init__(self, send: Send, accept_encoding: bytes, http_version: str) -> None:
        self.send_on, self.accepted, self.http_version = send, accepted_coding(accept_encoding), http_version
        self.start: Message | None = None
        """The start of a response, which is held back until it is known whether its body is in one message."""
        self.compressor: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.is_wanted(message):
                self.start = message
                return
        elif self.start is not None:
            message = await self.begun(self.start, message)
        elif self.compressor is not None and message["type"] == "http.response.body":
            message = await self.compressed(self.compressor, message)
        await self.send_on(message)

    def is_wanted(self, start: Message) -> bool:
        """Return whether the body is to be compressed. For a 304, set the entity tag of the compressed body."""
        headers: list[Header] = list(start["headers"])
        if self.accepted is AcceptedCoding.PLAIN:
            return False
        if start["status"] == 304:
            start["headers"] = with_weak_tag(headers)
        given = dict(headers)
        if start["status"] in (204, 206, 304) or not may_be_compressed(given):
            return False
        return self.accepted is AcceptedCoding.ALWAYS or varies(given)

    async def begun(self, start: Message, body: Message) -> Message:
        """Send the start of the response, and return the compressed first message of the body."""
        self.start = None
        is_whole = body["type"] == "http.response.body" and not body.get("more_body", False)
        headers = with_weak_tag([header for header in start["headers"] if header[0] not in NOT_COMPRESSED])
        headers += [(b"content-encoding", b"gzip"), VARIES]
        if body["type"] != "http.response.body" or not (is_whole or self.http_version != "1.0"):
            headers = start["headers"]  # not compressed: HTTP/1.0 has no chunked body of unknown length
        else:
            self.compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW, MEMORY)
            body = await self.compressed(self.compressor, body)
            if is_whole:
                headers.append((b"content-length", b"%d" % len(body["body"])))
        await self.send_on({**start, "headers": headers})
        return body

    async def compressed(self, compressor: "zlib._Compress", message: Message) -> Message:
        body, is_last = message.get("body", b""), not message.get("more_body", False)

        def compress() -> bytes:
            return compressor.compress(body) + (compressor.flush() if is_last else b"")

        is_small = len(body) <= AT_ONCE
        done = compress() if is_small else await asyncio.get_running_loop().run_in_executor(threads, compress)
        return {**message, "body": done}


def with_weak_tag(headers: list[Header]) -> list[Header]:
    return [(name, weakened(value) if name == b"etag" else value) for name, value in headers]
