"""Whole responses: the layers pass a complete response on to a server that can send it at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message

from kit import Database, Service
from kit.server.request_log import whole_send
from tests.kit.service import FAST_PATH, create_runtime, create_service

pytestmark = pytest.mark.skipif(not FAST_PATH, reason="the fast path sends whole responses")
Header = tuple[bytes, bytes]


@pytest.fixture
def service(database: Database) -> Service:
    return create_service(create_runtime(database))


class WholeServer:
    """A server that can send a whole response, and that keeps what is sent."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready, self.messages = is_ready, list[Message]()
        self.responses: list[tuple[int, Sequence[Header], bytes]] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    def send_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        if self.is_ready:
            self.responses.append((status, headers, body))
        return self.is_ready


async def ask(service: Service, server: WholeServer, method: str = "GET", headers: Sequence[Header] = ()) -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": method, "path": "/shelves/", "query_string": b"", "headers": list(headers)}
    scope |= {"http_version": "1.1", "scheme": "https", "server": ("test", 443), "client": ("1.2.3.4", 5)}
    await service(scope, receive, server.send)


async def test_the_response_of_an_operation_is_sent_at_once_with_all_headers(service: Service) -> None:
    server, sent = WholeServer(), list[Any]()
    service.observers.append(sent.append)
    await ask(service, server, headers=[(b"x-request-id", b"mine"), (b"authorization", b"Basic Og==")])
    service.observers.pop()
    ((status, headers, body),) = server.responses
    given = dict(headers)
    assert (status, body, server.messages) == (200, b"[]", [])
    assert (given[b"x-request-id"], given[b"cache-control"]) == (b"mine", b"private")
    assert given.keys() >= {b"etag", b"x-content-type-options", b"strict-transport-security"}
    ((_, method, route, status, _, size, *_),) = sent
    assert (method, route, status, size) == ("GET", "/shelves/", 200, 2)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_response_is_sent_by_messages_where_that_is_not_possible(service: Service, method: str) -> None:
    server = WholeServer(is_ready=method == "HEAD")
    await ask(service, server, method)
    assert server.responses == []
    assert [message["type"] for message in server.messages] == ["http.response.start", "http.response.body"]
    assert server.messages[0]["status"] == 200


def test_only_methods_of_an_object_that_sends_whole_responses_can_do_it() -> None:
    async def send(message: Message) -> None: ...

    server = WholeServer()
    assert whole_send(send) is None
    assert whole_send(server.send) == server.send_whole
