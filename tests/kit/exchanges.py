"""Exchanges: one request as an ASGI server passes it on, and all messages of its response, even of an aborted one."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

from tests.waiting import TIMEOUT_SECONDS


@dataclass
class Exchange:
    """The messages that a server received for one request; `failure` is the exception of the application."""

    messages: list[Message] = field(default_factory=list)
    failure: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        """Whether the client can tell that the response is complete."""
        return bool(self.messages) and self.messages[-1].get("more_body", True) is False


async def exchange(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    leave_after: int | None = None,
    is_cut_off: bool = False,
) -> Exchange:
    """Send a request. The client disconnects after `leave_after` messages, or before the end of the body."""
    result, left = Exchange(), asyncio.Event()
    unread = [{"type": "http.request", "body": body, "more_body": is_cut_off}]
    if is_cut_off:
        left.set()
    target, _, query = path.partition("?")
    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"}
    scope |= {"method": method, "scheme": "http", "path": target, "raw_path": target.encode(), "root_path": ""}
    scope |= {"query_string": query.encode(), "client": ("127.0.0.1", 1), "server": ("test", 80), "headers": given}

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        result.messages.append(message)
        if leave_after is not None and len(result.messages) >= leave_after:
            left.set()
            await asyncio.sleep(0.01)

    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await app(scope, receive, send)
    except Exception as failure:
        result.failure = failure
    return result


async def websocket_exchange(app: ASGIApp, path: str, headers: dict[str, str] | None = None) -> list[Any]:
    """Connect a WebSocket. Returns the JSON texts that it sends, and the types of its other messages."""
    sent: list[Any] = []
    unread: list[Message] = [{"type": "websocket.connect"}]
    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {"type": "websocket", "asgi": {"version": "3.0"}, "path": path, "raw_path": path.encode()}
    scope |= {"scheme": "ws", "query_string": b"", "root_path": "", "headers": given, "subprotocols": []}
    scope |= {"client": ("127.0.0.1", 1), "server": ("test", 80)}

    async def receive() -> Message:
        return unread.pop() if unread else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(json.loads(message["text"]) if message["type"] == "websocket.send" else message["type"])

    with suppress(Exception):  # as a server, which only logs it
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await app(scope, receive, send)
    return sent
