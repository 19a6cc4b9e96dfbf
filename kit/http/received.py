"""Received bodies: the messages of a body are received once, and given to every request that reads it.

Starlette's `Request` consumes the messages of the server. A second request on the same scope, such as one that a route
class makes of `request.receive`, would wait for messages that never come.
"""

import asyncio

from starlette.types import Message, Receive

from kit.http.problems import too_large

EMPTY: Message = {"type": "http.request", "body": b""}


class ReceivedBody:
    """The messages of a body, which are received when a reader needs them, and kept for the other readers.

    A body with more than `limit` bytes, or one that `is_long` by its Content-Length, is not kept. If it `is_limited`,
    its first reader gets a 413, and later ones an empty body. Otherwise the first one gets all messages, and later ones
    a RuntimeError.
    """

    def __init__(self, receive: Receive, limit: int, *, is_long: bool = False, is_limited: bool = False) -> None:
        self.receive_on, self.limit, self.is_long, self.is_limited = receive, limit, is_long, is_limited
        self.messages: dict[int, Message] = {}
        """The messages that are kept, by their number."""
        self.count = self.size = 0
        self.is_complete = False
        self.lock = asyncio.Lock()

    def reader(self, *, watches: bool = False) -> Receive:
        """Return a function like `receive` of ASGI. It begins with the first message of the body.

        If it only `watches` for the disconnect of the client, messages that are not kept are empty for it.
        """
        number = 0

        async def receive() -> Message:
            nonlocal number
            if number >= self.count and self.is_complete:
                return await self.receive_on()
            await self.receive_until(number)
            message = self.messages.get(number, EMPTY if watches else None)
            if message is None:
                raise self.refusal()
            number += 1
            return message

        return receive

    async def receive_until(self, number: int) -> None:
        """Receive the message with this number, unless another reader did."""
        async with self.lock:
            if number == self.count:
                self.keep(await self.receive_on())

    def keep(self, message: Message) -> None:
        self.size += len(message.get("body", b""))
        self.is_complete = not message.get("more_body", False)
        self.is_long = self.is_long or self.size > self.limit
        if self.is_long:
            self.messages.clear()
        if not (self.is_long and self.is_limited):
            self.messages[self.count] = message
        self.count += 1

    def refusal(self) -> Exception:
        """Return the exception for a reader of a body that was not kept."""
        if not self.is_limited:
            return RuntimeError("Stream consumed")  # as Starlette
        self.messages, self.count, self.is_complete = {0: EMPTY}, 1, True
        return too_large(self.limit)
