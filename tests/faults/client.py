"""A minimal HTTP/1.1 client on asyncio streams, so that many clients leave the CPU to the service."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

PASSWORD = "correct horse battery"  # noqa: S105  of all users here
TIMEOUT_SECONDS = 30
"""The longest wait for a response, in seconds; a longer one is a failure of the service."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, which is opened again if it was closed. A failed request raises a ConnectionError."""

    def __init__(self, port: int, address: str = "127.0.0.1", headers: Mapping[str, str] | None = None) -> None:
        self.port, self.address, self.headers = port, address, headers or {}
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request. `If_Match="…"` is the header `If-Match`."""
        started = time.perf_counter()
        is_form = isinstance(body, str)
        content = b"" if body is None else (body if is_form else json.dumps(body)).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(content)}"]
        media_type = "application/x-www-form-urlencoded" if is_form else "application/json"
        lines += [f"Content-Type: {media_type}"] if content else []
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, received, answer = await self.exchange("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        except BaseException:  # the state of the connection is unknown
            self.close()
            raise
        if received.get("connection") == "close":
            self.close()
        return Answer(status, received, answer, time.perf_counter() - started)

    async def exchange(self, message: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.streams is None or self.streams[0].at_eof():
            self.close()
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
        reader, writer = self.streams
        writer.write(message)
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError("The service hung up.") from None
        return int(first.split()[1]), headers, body

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
            self.streams = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def bearer(token: str) -> dict[str, str]:
    """Return the headers of requests with this token; none without a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def user_body(name: str) -> dict[str, str]:
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
