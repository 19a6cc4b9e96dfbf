"""Connections of the fast path: complete responses are written at once, as uvicorn would write them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from kit.fast import connections
from kit.fast.connections import FastConnection, WholeCycle, check_whole_responses, cycle_of
from kit.fast.rendering import RenderedResponse
from kit.http.bodies import read_body, whole_body
from kit.server.connections import BoundedConnection
from tests.kit.server import test_connections as plain
from tests.kit.server.test_connections import START, Server, listening, status_of


class PatientAndFast(FastConnection, plain.Patient):
    """Fast connections with the same bounds as the plain ones, and without uvicorn's access log, as the kit has."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.access_log = False


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Provide a server whose responses are complete; their headers are those of the request that begin with `x-`."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        response = RenderedResponse(b"[]", 200)
        response.raw_headers += [(name[2:], value) for name, value in scope["headers"] if name.startswith(b"x-")]
        await response(scope, receive, send)

    monkeypatch.setattr(plain, "echo", respond)
    async with listening(PatientAndFast) as server:
        yield server


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Provide whether each response was sent at once."""
    sent: list[bool] = []
    send_whole = WholeCycle.send_whole

    def noting(cycle: WholeCycle, *response: Any) -> bool:
        sent.append(send_whole(cycle, *response))
        return sent[-1]

    monkeypatch.setattr(WholeCycle, "send_whole", noting)
    return sent


def test_the_self_test_finds_no_difference() -> None:
    check_whole_responses()


async def test_responses_on_one_connection_are_sent_at_once(server: Server, at_once: list[bool]) -> None:
    answer = await server.send(START + b"\r\n" + START + b"x-a: b\r\n\r\n" + START + b"Connection: close\r\n\r\n")
    first, second, last = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 OK\r\n")
    assert first.endswith(b"content-length: 2\r\ncontent-type: application/json\r\n\r\n[]")
    assert b"\r\na: b\r\n" in second
    assert b"connection: close" in last
    assert at_once == [True, True, False]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: test\r\nx-a: b\r\n\r\n", 200),
        (START + b"x-connection: close\r\n\r\n", 200),
        (START + b"x-a: \x01\r\n\r\n", 400),
    ],
)
async def test_other_responses_are_sent_by_uvicorn(
    server: Server, at_once: list[bool], head: bytes, status: int
) -> None:
    answer = await server.send(head, START + b"Connection: close\r\n\r\n")
    assert status_of(answer) == status
    assert not any(at_once)


async def test_a_client_that_waits_for_permission_to_continue_gets_the_response(server: Server) -> None:
    expecting = START + b"Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    assert status_of(await server.send(expecting)) == 200


async def test_the_bounds_of_heads_are_the_same(server: Server) -> None:
    assert status_of(await server.send(START + b"x: " + b"a" * 1000 + b"\r\n\r\n")) == 431
    assert (
        status_of(await server.send(START + b"".join(b"x-%d: a\r\n" % number for number in range(10)) + b"\r\n")) == 431
    )


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"BREW / HTTP/1.1\r\nHost: test\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: test\r\n", 505),
        (START + b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        (b"GET http://test HTTP/1.1\r\nHost: test:80\r\n", 200),
    ],
)
async def test_the_checks_of_heads_are_the_same(server: Server, head: bytes, status: int) -> None:
    answer = await server.send(head + b"X-Request-ID: mine-1\r\nConnection: close\r\n\r\n")
    assert status_of(answer) == status


def test_a_websocket_has_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "on_headers_complete", lambda _: None)  # as uvicorn's, if it has WebSockets
    connection = FastConnection.__new__(FastConnection)
    connection.cycle = None  # type: ignore[assignment]  # uvicorn's first value
    connection.on_headers_complete()
    assert connection.cycle is None


async def test_trailers_are_dropped(server: Server) -> None:
    chunks = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-forged: 1\r\n\r\n"
    assert b"forged" not in await server.send(chunks, START + b"Connection: close\r\n\r\n", pause=0.05)


def test_uvicorns_own_headers_change() -> None:
    for date in (b"today", b"tomorrow"):
        cycle = cycle_of(WholeCycle)
        cycle.default_headers = [(b"Date", date)]
        assert isinstance(cycle, WholeCycle)
        assert cycle.send_whole(200, [(b"content-length", b"0")], b"")
        assert b"date: %b\r\n" % date in vars(cycle)["transport"].written


async def test_a_response_to_a_writer_that_waits_is_sent_by_uvicorn() -> None:
    cycle = cycle_of(WholeCycle)
    assert isinstance(cycle, WholeCycle)
    cycle.flow.write_paused = True
    assert not cycle.send_whole(200, [(b"content-length", b"0")], b"")
    assert not isinstance(cycle_of(RequestResponseCycle), WholeCycle)
    assert connections.INVALID.search(b"a\r\nb")


@pytest.fixture
async def echo(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Server, list[Any]]]:
    """Provide a server that responds with the body of the request, and what `take_whole` has returned."""
    taken: list[Any] = []

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        taken.append(whole_body(receive))
        body = await read_body(receive, {}, 100) if taken[-1] is None else taken[-1]
        await RenderedResponse(body, 200)(scope, receive, send)

    monkeypatch.setattr(plain, "echo", respond)
    async with listening(PatientAndFast) as server:
        yield server, taken


POST = b"POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("parts", "taken"),
    [
        ((POST + b"Content-Length: 4\r\n\r\nbody",), b"body"),
        ((POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",), b"body"),
        ((POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n", b"body"), None),
    ],
)
async def test_a_body_that_has_arrived_as_a_whole_is_taken_without_a_message(
    echo: tuple[Server, list[Any]], parts: tuple[bytes, ...], taken: bytes | None
) -> None:
    server, seen = echo
    assert (await server.send(*parts)).endswith(b"\r\n\r\nbody")
    assert seen == [taken]
