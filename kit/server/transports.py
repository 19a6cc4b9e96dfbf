"""Transports: sends the head of a response together with the first part of its body, by one system call.

empty                --write of a head--> holds it
holds a head         --another write--> empty: both are sent
holds a head         --the iteration of the event loop ends, or the transport closes--> empty: the head is sent
"""

import asyncio
from typing import Any

HEAD = b"HTTP/1."
"""The beginning of the head of a response."""


class JoiningTransport(asyncio.Transport):
    """A transport that holds back the head of a response until the next write, or the end of the loop's iteration.

    uvicorn writes head and body separately. Each write is a system call, which takes a tenth of the time of a GET.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.transport, self.loop = transport, loop
        self.head: bytes = b""
        """The head that is held back; empty if there is none."""
        self.is_scheduled = False
        """Whether `end_iteration` is scheduled."""
        # the methods of the inner transport directly, without a call in between
        self.is_closing, self.get_extra_info = transport.is_closing, transport.get_extra_info  # type: ignore[method-assign]
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading  # type: ignore[method-assign]

    def write(self, data: Any) -> None:
        if self.head:
            head, self.head = self.head, b""
            self.transport.writelines((head, data))
        elif data[: len(HEAD)] == HEAD:
            self.head = data
            if not self.is_scheduled:
                self.is_scheduled = True
                self.loop.call_soon(self.end_iteration)
        else:
            self.transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Send a head with its whole body, after a head that is held back."""
        self.flush()
        self.transport.write(data)

    def end_iteration(self) -> None:
        self.is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send the head that is held back, if any."""
        if self.head:
            head, self.head = self.head, b""
            self.transport.write(head)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        self.head = b""
        self.transport.abort()

    def get_write_buffer_size(self) -> int:
        return len(self.head) + self.transport.get_write_buffer_size()
