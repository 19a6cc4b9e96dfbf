"""Connections: heads of a bounded size, number and time; no trailers; and idle connections are closed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kit.server.connections import BoundedConnection, bound_connections
from kit.server.head_refusals import HOST
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.no_fast_path

SECONDS = 0.2
"""The time until an impatient server closes a connection."""
START = b"GET / HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"POST /late HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = 32 * 2**20
"""More than the buffers of the system between two sockets."""


class Patient(BoundedConnection):
    """Connections with small bounds, and more time than a busy machine needs."""

    head_seconds = stall_seconds = float(TIMEOUT_SECONDS)
    max_head, max_headers, max_connections = 1000, 10, 3


class Impatient(Patient):
    head_seconds = stall_seconds = SECONDS


class SomewhatPatient(Patient):
    stall_seconds = 1


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the names of the headers; at `/large` with more bytes than a client reads."""
    request = Request(scope, receive)
    if scope["path"] == "/late":
        await request.body()
    content = "x" * LARGE if scope["path"] == "/large" else ",".join(request.headers)
    if scope["path"] == "/body":
        content = (await request.body()).decode()
    await PlainTextResponse(content)(scope, receive, send)


@asynccontextmanager
async def listening(kind: type[BoundedConnection] = Patient) -> AsyncIterator["Server"]:
    config, state = Config(echo, lifespan="off", log_config=None, timeout_keep_alive=1), ServerState()
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(config, state, {}, loop), "127.0.0.1", 0)
    yield Server(server.sockets[0].getsockname()[1], state)
    server.close()
    for connection in list(state.connections):
        connection.transport.abort()


class Server:
    def __init__(self, port: int, state: ServerState) -> None:
        self.port, self.state = port, state

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, *parts: bytes, pause: float = 0) -> bytes:
        """Return all that comes back until the server closes the connection, which it does in time."""
        reader, writer = await self.connect()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            try:
                for part in parts:
                    writer.write(part)
                    await asyncio.sleep(pause)
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with listening() as server:
        yield server


@pytest.fixture
async def impatient() -> AsyncIterator[Server]:
    async with listening(Impatient) as server:
        yield server


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


async def test_a_head_within_the_bounds_is_served(server: Server) -> None:
    answer = await server.send(START + b"X-A: 1\r\nConnection: close\r\n\r\n")
    assert (status_of(answer), answer.rpartition(b"\r\n")[2]) == (200, b"host,x-a,connection")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (START + b"x: " + b"a" * 1000 + b"\r\n\r\n", 431),
        (START + b"".join(b"x-%d: a\r\n" % number for number in range(10)) + b"\r\n", 431),
        (b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 414),
        (b"no request\r\n\r\n", 400),
    ],
)
async def test_a_head_outside_of_the_bounds_is_a_problem(server: Server, head: bytes, status: int) -> None:
    answer = await server.send(head)
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert (status_of(answer), problem["status"]) == (status, status)
    assert b"application/problem+json" in head
    assert f"x-request-id: {problem['request_id']}".encode() in head


@pytest.mark.parametrize("start", [START + b"x: ", CHUNKED + b"1\r\n \r\n0\r\nx: ", CHUNKED + b"1;x="])
async def test_what_has_no_end_is_refused_before_it_fills_the_memory(server: Server, start: bytes) -> None:
    answer = await server.send(start, *[b"a" * 500] * 4, pause=SECONDS / 20)
    assert status_of(answer) == 431


async def test_a_head_that_is_not_complete_in_time_is_a_408(impatient: Server) -> None:
    assert status_of(await impatient.send(START)) == 408


@pytest.mark.parametrize("parts", [[], [b"\r\n"] * 10])
async def test_a_connection_that_asks_for_nothing_is_closed(impatient: Server, parts: list[bytes]) -> None:
    assert await impatient.send(*parts, pause=SECONDS / 5) == b""
    await until(lambda: not impatient.state.connections)


async def test_trailers_are_dropped(server: Server) -> None:
    trailers = b"Authorization: Bearer forged\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    answer = await server.send(CHUNKED + b"2\r\n{}\r\n0\r\n" + trailers)
    assert answer.rpartition(b"\r\n")[2] == b"host,connection,transfer-encoding"


async def test_what_follows_a_request_and_is_none_does_not_take_its_response(server: Server) -> None:
    answer = await server.send(START + b"\r\nno request\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_that_reads_nothing_loses_its_connection(impatient: Server) -> None:
    _, writer = await impatient.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads
    writer.write(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
    await until(lambda: bool(impatient.state.connections))
    await until(lambda: not impatient.state.connections)
    writer.close()


async def test_a_client_that_reads_slowly_keeps_its_connection() -> None:
    started, size = time.monotonic(), 0
    async with listening(SomewhatPatient) as server:
        reader, writer = await server.connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        while part := await reader.read(LARGE // 512):
            size += len(part)
            is_slow = time.monotonic() - started < 1.5 * SomewhatPatient.stall_seconds
            await asyncio.sleep(0.01 if is_slow else 0)
        writer.close()
    assert size > LARGE


async def test_a_new_connection_replaces_the_one_that_is_idle_for_the_longest_time(server: Server) -> None:
    first, *others = [await server.connect() for _ in range(Patient.max_connections)]
    newest = await server.connect()
    assert await asyncio.wait_for(first[0].read(), TIMEOUT_SECONDS / 2) == b""
    newest[1].write(START + b"Connection: close\r\n\r\n")
    assert status_of(await newest[0].read()) == 200
    for _, writer in (first, *others, newest):
        writer.close()


@pytest.mark.parametrize(
    ("is_loaded", "given", "used"),
    [
        (True, HttpToolsProtocol, BoundedConnection),
        (True, H11Protocol, H11Protocol),
        (False, HttpToolsProtocol, HttpToolsProtocol),
    ],
)
def test_it_takes_the_place_of_httptools_only(is_loaded: bool, given: type, used: type) -> None:
    config = SimpleNamespace(loaded=is_loaded, http_protocol_class=given)
    bound_connections(config)
    assert config.http_protocol_class is used


class Pipe(Mock):
    """A transport that stores nothing and sends nothing."""

    waiting = 0

    def get_extra_info(self, *_: object) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self.waiting


@pytest.fixture
async def piped() -> Patient:
    config = Config(echo, lifespan="off", log_config=None)
    config.load()
    connection = Patient(config, ServerState(), {}, asyncio.get_running_loop())
    connection.connection_made(Pipe())
    return connection


async def test_a_response_that_is_not_sent_is_watched_once(piped: Patient) -> None:
    piped.transport.transport.waiting = 5  # type: ignore[attr-defined]
    piped.on_response_complete()
    timer = piped.stall_timer
    piped.pause_writing()
    assert timer is not None
    assert piped.stall_timer is timer
    piped.end_stalled(10)
    assert piped.stall_timer is not timer
    piped.transport.transport.waiting = 0  # type: ignore[attr-defined]
    piped.end_stalled(5)
    assert piped.stall_timer is None
    piped.connection_lost(None)


async def test_a_websocket_is_not_watched(piped: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpToolsProtocol, "handle_websocket_upgrade", lambda _: None)
    piped.handle_websocket_upgrade()
    assert piped.head_timer is not None
    assert piped.head_timer.cancelled()


async def test_a_response_that_has_started_is_not_followed_by_another(piped: Patient) -> None:
    cycle = SimpleNamespace(response_complete=False, more_body=True, response_started=True)
    piped.cycle = cycle  # type: ignore[assignment]
    piped.send_400_response("")
    assert not piped.transport.transport.write.called  # type: ignore[attr-defined]
    assert piped.transport.transport.close.called  # type: ignore[attr-defined]
    piped.cancel_timers()


async def test_a_connection_serves_several_requests(server: Server) -> None:
    answer = await server.send(START + b"\r\n", START + b"Connection: close\r\n\r\n", pause=SECONDS / 10)
    assert answer.count(b"HTTP/1.1 200") == 2


UPGRADE = b"POST /body HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
"""The head of a client that would rather use HTTP/2, as Java's and `curl --http2` send it."""
LAST = START + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("pause", [0, SECONDS / 10])
@pytest.mark.parametrize(
    ("framing", "body", "read"),
    [
        (b"Content-Length: 45\r\n", b"GET /inner HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\n", b"GET /inner"),
        (b"Transfer-Encoding: chunked\r\n", b"4\r\nwhat\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n", b"what!"),
        (b"", b"", b""),
    ],
)
async def test_the_body_of_a_request_with_an_upgrade_is_read(
    server: Server, framing: bytes, body: bytes, read: bytes, pause: float
) -> None:
    parts = [UPGRADE, framing + b"\r\n", body[:5], body[5:], LAST]
    answer = await server.send(*(parts if pause else [b"".join(parts)]), pause=pause)
    first, second = answer.split(b"HTTP/1.1 200")[1:]
    assert read in first
    assert second.endswith(b"host,connection")


async def test_a_websocket_that_is_not_supported_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    await server.send(UPGRADE.replace(b"h2c", b"websocket") + b"\r\n" + LAST)
    assert "Unsupported upgrade request." in caplog.messages


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n", 400),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET http://evil/ HTTP/1.1\r\nHost: test\r\n", 400),
        (b"GET http://test:81/ HTTP/1.1\r\nHost: test:80\r\n", 400),
        (b"GET http:/// HTTP/1.1\r\nHost: test\r\n", 400),
        (b"GET http://TEST/ HTTP/1.1\r\nHost: Test\r\n", 200),
        (b"GET http://test:8000/ HTTP/1.1\r\nHost: test:8000\r\n", 200),
        (b"GET / HTTP/1.0\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: test\r\n", 200),
    ],
)
async def test_a_head_names_one_host(server: Server, head: bytes, status: int) -> None:
    answer = await server.send(head + b"Connection: close\r\n\r\n")
    assert answer.split(b" ")[1] == str(status).encode()
    assert status == 200 or json.loads(answer.rpartition(b"\r\n")[2])["detail"] == HOST.detail
