"""Expectations: a client that waits for a 100 (Continue) gets none if its request is refused by its head."""

from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec

import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from kit import SUPERUSER, Principal, Service, Who, allowing
from kit.operations.callers import get_caller
from kit.server.middleware import Layers
from kit.server.rate_limits import RateLimits
from tests.kit.server import test_connections
from tests.kit.server.small import MEMBER, bearer, small_service
from tests.kit.server.test_connections import Server, listening

JSON, TOKEN = b"Content-Type: application/json\r\n", b"Authorization: of a member\r\n"
"""Headers; `signed` puts a token in place of `TOKEN`, which would have expired since the import."""
BODY = b'{"name":"a"}'
REFUSED = [
    (b"POST /notes", JSON, 401),
    (b"POST /closed", JSON + TOKEN, 403),
    (b"POST /nothing", JSON + TOKEN, 404),
    (b"PUT /notes", JSON + TOKEN, 405),
    (b"POST /notes", TOKEN + b"Content-Type: text/plain\r\n", 415),
    (b"POST /notes", TOKEN + JSON + b"Content-Encoding: gzip\r\n", 415),
    (b"POST /notes", TOKEN + JSON + b"Content-Length: 2000000\r\n", 413),
    (b"POST /plain", JSON, 401),
    (b"POST /open", JSON + b"Content-Length: 2000000\r\n", 413),
]


class Note(BaseModel):
    name: str


def service(*, fast: bool, rates: RateLimits | None = None) -> Service:
    router = APIRouter(route_class=allowing(create=Who.MEMBERS))
    closed = APIRouter(route_class=allowing(create=Who.SUPERUSERS))

    @closed.post("/closed")
    @router.post("/notes")
    async def create(note: Note) -> str:
        return note.name

    made = small_service(router, closed, public={"POST /open"}, layers=Layers(rates=rates))

    @made.post("/open")
    @made.post("/plain")
    async def plain(note: Note) -> str:
        return note.name

    if fast:
        import_module("kit.fast").install(made)
    return made


@pytest.fixture(params=[False, *([True] if find_spec("kit.fast") else [])])
async def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(test_connections, "echo", service(fast=request.param))
    async with listening() as server:
        yield server


def signed(head: bytes) -> bytes:
    return head.replace(b"of a member", bearer(MEMBER)["Authorization"].encode())


async def expect(server: Server, start: bytes, headers: bytes, body: bytes = BODY) -> list[bytes]:
    """Send a head, and the body after a 100. Return the responses until the server closes the connection."""
    length = b"" if b"Content-Length" in headers or b"chunked" in headers else b"Content-Length: %d\r\n" % len(body)
    reader, writer = await server.connect()
    writer.write(signed(start + b" HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n" + headers + length + b"\r\n"))
    first = await reader.readuntil(b"\r\n\r\n")
    if b" 100 " in first:
        writer.write(body)
    rest = await reader.read()
    writer.close()
    return (first + rest).split(b"HTTP/1.1 ")[1:]


@pytest.mark.parametrize(("start", "headers", "status"), REFUSED)
async def test_a_request_that_is_refused_by_its_head_gets_no_interim_response(
    server: Server, start: bytes, headers: bytes, status: int
) -> None:
    (answer,) = await expect(server, start, headers)
    assert (int(answer[:3]), b"connection: close" in answer) == (status, True)


@pytest.mark.parametrize("start", [b"POST /notes", b"POST /open"])
async def test_a_request_whose_head_is_accepted_gets_an_interim_response(server: Server, start: bytes) -> None:
    for chunked in (False, True):
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % len(BODY)
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
        interim, answer = await expect(server, start, JSON + TOKEN + framing + b"Connection: close\r\n", body)
        assert (int(interim[:3]), int(answer[:3]), answer[-3:]) == (100, 200, b'"a"')


async def test_the_same_connection_serves_the_next_request_after_the_body(server: Server) -> None:
    head = signed(b"POST /notes HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n" + JSON + TOKEN)
    request = head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    answer = await server.send(request, b"GET /health/live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3] != b"100"] == [200, 200]


async def test_a_long_body_may_arrive_in_parts_after_the_interim_response(server: Server) -> None:
    body = b'{"name":"%b"}' % (b"a" * 300_000)
    interim, answer = await expect(server, b"POST /notes", JSON + TOKEN + b"Connection: close\r\n", body)
    assert (int(interim[:3]), int(answer[:3]), len(answer) > 300_000) == (100, 200, True)


async def test_a_request_over_its_quota_gets_no_interim_response(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = RateLimits("memory://", per_user=0, per_address=1)
    monkeypatch.setattr(test_connections, "echo", service(fast=False, rates=rates))
    async with listening() as server:
        assert len(await expect(server, b"POST /open", JSON + b"Connection: close\r\n")) == 2
        (answer,) = await expect(server, b"POST /open", JSON)
    assert answer[:3] == b"429"


async def test_overrides_of_dependencies_decide_about_the_head_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    made = service(fast=False)
    made.dependency_overrides[get_caller] = lambda: Principal(1, frozenset({SUPERUSER}))
    monkeypatch.setattr(test_connections, "echo", made)
    async with listening() as server:
        _, answer = await expect(server, b"POST /plain", JSON + b"Connection: close\r\n")
    assert answer[:3] == b"200"
