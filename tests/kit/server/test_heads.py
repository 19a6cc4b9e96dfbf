"""Request heads: their version, host and framing are clear; a refusal has the same form as other responses."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from kit.openapi.problem_schema import Problem
from kit.server.head_refusals import HOST
from kit.server.heads import fault_of
from tests.kit.server import test_connections
from tests.kit.server.test_connections import CHUNKED, START, Server, listening, status_of

pytestmark = pytest.mark.no_fast_path

END = b"Connection: close\r\n\r\n"


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the target and the hosts of the request, after reading its body."""
    while (await receive()).get("more_body"):
        pass
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    await JSONResponse([scope["path"], scope["query_string"].decode(), *hosts])(scope, receive, send)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(test_connections, "echo", show)
    async with listening() as server:
        server.state.default_headers = [(b"date", b"today")]
        yield server


def body_of(answer: bytes) -> Any:
    return json.loads(answer.rpartition(b"\r\n")[2])


def headers_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize(
    ("head", "status", "detail"),
    [
        (b"BREW /a?b HTTP/1.1\r\nHost: a\r\n", 501, "The server does not know the method of the request."),
        (b"get /a HTTP/1.1\r\nHost: a\r\n", 501, "The server does not know the method of the request."),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n", 501, "The server does not know the method of the request."),
        (b"GET /a HTTP/2.0\r\nHost: a\r\n", 505, "The server knows HTTP/1.0 and HTTP/1.1 only."),
        (b"GET /a HTTP/0.9\r\nHost: a\r\n", 505, "The server knows HTTP/1.0 and HTTP/1.1 only."),
        (b"GET /a HTTP/1.2\r\nHost: a\r\n", 505, "The server knows HTTP/1.0 and HTTP/1.1 only."),
        (b"BREW /a HTTP/3.0\r\nHost: a\r\n", 505, "The server knows HTTP/1.0 and HTTP/1.1 only."),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "The server knows HTTP/1.0 and HTTP/1.1 only."),
        (b"GET /a HTTP/x\r\nHost: a\r\n", 400, "The request is not HTTP (RFC 9112)."),
        (b"GET /a\xff HTTP/1.1\r\nHost: a\r\n", 400, "The request is not HTTP (RFC 9112)."),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "The request is not HTTP (RFC 9112)."),
    ],
)
async def test_a_refusal_says_what_is_wrong(server: Server, head: bytes, status: int, detail: str) -> None:
    answer = await server.send(head + END)
    assert (status_of(answer), body_of(answer)["detail"]) == (status, detail)


@pytest.mark.parametrize(
    ("coding", "version", "status"),
    [
        (b"chunked", b"1.1", 200),
        (b" , Chunked", b"1.1", 200),
        (b"gzip, chunked", b"1.1", 501),
        (b"gzip\r\nTransfer-Encoding: chunked", b"1.1", 501),
        (b"gzip", b"1.1", 501),
        (b"identity", b"1.1", 501),
        (b"chunked;a=b", b"1.1", 501),
        (b"chunked\r\nTransfer-Encoding: chunked", b"1.1", 400),
        (b"chunked, gzip", b"1.1", 400),
        (b"chunked", b"1.0", 400),
        (b"gzip", b"1.0", 400),
    ],
)
async def test_a_body_has_the_transfer_coding_chunked_or_none(
    server: Server, coding: bytes, version: bytes, status: int
) -> None:
    head = b"POST / HTTP/%b\r\nHost: a\r\nTransfer-Encoding: %b\r\n" % (version, coding)
    assert status_of(await server.send(head + END + b"0\r\n\r\n")) == status


@pytest.mark.parametrize(("version", "has_interim"), [(b"1.1", True), (b"1.0", False)])
async def test_a_client_of_an_old_version_gets_no_interim_response(
    server: Server, version: bytes, has_interim: bool
) -> None:
    head = b"POST / HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" % version
    answer = await server.send(head + END, b"x", pause=0.1)
    assert (b" 100 " in answer, b" 200 " in answer) == (has_interim, True)


@pytest.mark.parametrize(
    ("start", "hosts", "seen"),
    [
        (b"GET http://[::1]:9101/a?b HTTP/1.1", [b"[::1]:9101"], ["/a", "b", "[::1]:9101"]),
        (b"GET http://a HTTP/1.1", [b"A"], ["/", "", "A"]),
        (b"GET http://a?b HTTP/1.1", [b"a:80"], ["/", "b", "a:80"]),
        (b"OPTIONS http://a:81 HTTP/1.1", [b"a:81"], ["*", "", "a:81"]),
        (b"OPTIONS http://a/ HTTP/1.1", [b"a"], ["/", "", "a"]),
        (b"GET https://a/ HTTP/1.1", [b"a:443"], ["/", "", "a:443"]),
        (b"GET HTTP://a:/ HTTP/1.0", [], ["/", "", "a:"]),
        (b"GET / HTTP/1.0", [], ["/", ""]),
    ],
)
async def test_an_absolute_target_is_read_as_its_path(
    server: Server, start: bytes, hosts: list[bytes], seen: list[str]
) -> None:
    lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
    assert body_of(await server.send(start + b"\r\n" + lines + END)) == seen


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a/", b"b"),
        (b"http://a/", b"a:443"),
        (b"https://a/", b"a:80"),
        (b"http://[::1]/", b"[::2]"),
        (b"http://u@a/", b"a"),
        (b"http://a/", b""),
        (b"http:///", b""),
        (b"http://a:99999/", b"a:99999"),
        (b"http://%b/" % (b"a" * 301), b"a" * 301),
    ],
)
def test_another_host_in_the_target_is_refused(target: bytes, host: bytes) -> None:
    assert fault_of("1.1", target, [(b"host", host)]) == HOST


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"a:x", b"a:99999", b"[::1", b"\xe9", b"a?b", b":80",
                                  b"[:::]", b"[]", b"a%zz", b"a" * 301, b"a:80:80", b"::1", b"a#b"])  # fmt: skip
def test_an_invalid_host_is_refused(host: bytes) -> None:
    assert fault_of("1.1", b"/", [(b"host", host)]) == HOST


@pytest.mark.parametrize("host", [b"", b"a", b"A.example.", b"a_b:8000", b"127.0.0.1", b"a:", b"[::1]", b"[v1.a:b]:80",
                                  b"[::ffff:1.2.3.4]", b"xn--bcher-kva.example", b"%C3%BC.example"])  # fmt: skip
def test_a_valid_host_is_accepted(host: bytes) -> None:
    assert fault_of("1.1", b"/", [(b"host", host)]) is None
    assert fault_of("1.1", b"*", [(b"host", host)]) is None


REFUSED = {
    "several hosts": START + b"Host: b\r\n",
    "an unknown version": b"GET /?x HTTP/2.0\r\nHost: test\r\n",
    "too large a head": START + b"".join(b"x-%d: a\r\n" % number for number in range(9)),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_refusal_has_the_callers_id_the_date_and_the_path(server: Server, kind: str) -> None:
    first, _, others = REFUSED[kind].partition(b"\r\n")
    trace = "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01\r\n"
    answer = await server.send(first + b"\r\nX-Request-ID: mine-1\r\n" + trace.encode() + others + END)
    headers, problem = headers_of(answer), Problem.model_validate(body_of(answer)).model_dump()
    assert (headers["date"], headers["x-request-id"], problem["request_id"]) == ("today", "mine-1", "mine-1")
    assert (problem["instance"], body_of(answer)["trace_id"]) == ("/", "a" * 32)
    assert problem["title"] == HTTPStatus(status_of(answer)).phrase


@pytest.mark.parametrize(
    ("data", "instance"),
    [
        (b"BREW /a%20b?c HTTP/1.1\r\n", "/a%20b"),
        (b"GET /a?b HTTP/9.9\r\n", "/a"),
        (b"GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n", "/b"),
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 2000), "/" + "a" * 999),
        (b"BREW /a", ""),
        (b"\x00", ""),
        (b"\r\n" * 600, ""),
    ],
)
async def test_the_instance_of_a_refusal_is_the_path_if_it_is_known(server: Server, data: bytes, instance: str) -> None:
    assert Problem.model_validate(body_of(await server.send(data))).instance == instance


async def test_an_invalid_id_is_replaced_in_a_refusal(server: Server) -> None:
    answer = await server.send(START + b"X-Request-ID: a b\r\nHost: b\r\n" + END)
    assert re.fullmatch("[0-9a-f]{32}", headers_of(answer)["x-request-id"])


async def test_a_refusal_is_logged_with_its_id(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kit")
    answer = await server.send(START + b"Host: b\r\n" + END)
    await server.send(b"\x00")
    known, unknown = (record for record in caplog.records if record.name == "kit")
    assert (vars(known)["method"], vars(known)["status"], vars(known)["route"]) == ("GET", 400, None)
    assert vars(known)["bytes"] == int(headers_of(answer)["content-length"])
    assert vars(unknown)["method"] == "-"
    caplog.clear()
    caplog.set_level(logging.WARNING, "kit")
    await server.send(START + b"Host: b\r\n" + END)
    assert not [record for record in caplog.records if record.name == "kit"]


async def test_a_refused_head_gets_no_body(server: Server) -> None:
    answer = await server.send(b"HEAD / HTTP/1.1\r\n" + END)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status_of(head), body) == (400, b"")


async def test_a_body_that_cannot_be_read_is_a_problem_with_the_id_of_its_request(server: Server) -> None:
    start = CHUNKED.replace(b"\r\n\r\n", b"\r\nX-Request-ID: mine-1\r\n\r\n")
    answer = await server.send(start, b"no size\r\n", pause=0.1)
    assert (status_of(answer), headers_of(answer)["x-request-id"]) == (400, "mine-1")
    assert body_of(answer)["instance"] == "/late"


async def test_a_slow_response_is_not_cut_off_by_what_follows_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def show_late(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(3 * test_connections.SECONDS)
        await show(scope, receive, send)

    monkeypatch.setattr(test_connections, "echo", show_late)
    async with listening(test_connections.Impatient) as server:
        assert status_of(await server.send(START + b"\r\nGET", b" no request\r\n\r\n", pause=0.05)) == 200
