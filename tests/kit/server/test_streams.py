"""Streams do not occupy the slots of other requests, and have a separate limit."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from kit import Layers, Service
from kit.server.admission import Admission
from tests.kit.exchanges import exchange
from tests.kit.probes import until_collected
from tests.kit.server.small import asking, small_service
from tests.waiting import TIMEOUT_SECONDS

STREAMS = 3


class Source:
    """An endless source of lines, which counts its listeners."""

    def __init__(self) -> None:
        self.listeners = self.closed = 0

    async def lines(self) -> AsyncIterator[str]:
        self.listeners += 1
        try:
            while True:
                yield "line\n"
                await asyncio.sleep(0.01)
        finally:
            self.listeners -= 1
            self.closed += 1


@pytest.fixture
def source() -> Source:
    return Source()


def streaming_router(source: Source) -> APIRouter:  # noqa: C901  a route of each kind
    router = APIRouter()

    @router.get("/response")
    @router.post("/response")
    async def response() -> Response:
        return StreamingResponse(source.lines(), media_type="text/plain")

    @router.get("/lines")
    async def lines() -> AsyncIterable[str]:
        async for line in source.lines():
            yield line

    @router.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterable[str]:
        async for line in source.lines():
            yield line

    @router.get("/short")
    async def short() -> Response:
        return StreamingResponse(iter(["a", "b"]), media_type="text/plain")

    @router.get("/file")
    async def file() -> Response:
        return FileResponse(__file__)

    @router.get("/plain")
    async def plain() -> str:
        return "plain"

    @router.websocket("/ws")
    async def follow(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    return router


def streaming_service(source: Source, **options: Any) -> Service:
    layers = Layers(max_in_flight=1, max_streams=STREAMS)
    return small_service(streaming_router(source), auth=False, layers=layers, **options)


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[str]:
    """Provide the URL of a real server of this application, in this process."""
    server = uvicorn.Server(uvicorn.Config(service, port=0, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not server.started:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = server.force_exit = True
    await running


@pytest.mark.untraced
@pytest.mark.parametrize("path", ["/response", "/lines", "/events"])
async def test_endless_streams_do_not_occupy_the_slots_of_other_requests(source: Source, path: str) -> None:
    async with (
        served(streaming_service(source)) as url,
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client,
    ):
        async with many_streams(client, path) as streams:
            assert [stream.status_code for stream in streams] == [200] * STREAMS
            for _ in range(5):
                assert (await client.get("/plain")).json() == "plain"
            refused = await client.get(path)
            assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
            assert (refused.json()["type"], refused.json()["outcome"]) == ("urn:problem:unavailable", "not_applied")
            assert refused.headers["Retry-After"] == "1"
            assert (await client.get("/plain")).status_code == 200
        await until_collected(lambda: source.listeners == 0)
        async with client.stream("GET", path) as again:
            assert again.status_code == 200


@asynccontextmanager
async def many_streams(client: httpx.AsyncClient, path: str) -> AsyncIterator[list[httpx.Response]]:
    """Open as many streams as are allowed, and wait until each has begun."""
    opened = [client.stream("GET", path) for _ in range(STREAMS)]
    streams = [await stream.__aenter__() for stream in opened]
    yield streams
    for stream in opened:
        await stream.__aexit__(None, None, None)


async def test_a_stream_that_is_refused_after_a_write_says_that_its_outcome_is_unknown(source: Source) -> None:
    service = streaming_service(source)
    async with (
        served(service) as url,
        httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client,
        many_streams(client, "/response"),
    ):
        refused = await client.post("/response")
    assert (refused.status_code, refused.json()["outcome"]) == (503, "unknown")


async def test_a_stream_that_is_refused_is_aborted_and_logged_without_a_traceback(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    service = small_service(streaming_router(source), auth=False, layers=Layers(max_streams=0))

    @service.middleware("http")
    async def passing(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)

    for path in ("/response", "/lines", "/events", "/short"):
        async with asking(service, raises=True) as client:
            assert (await asyncio.wait_for(client.get(path), 20)).status_code == 503
    await until_collected(lambda: source.listeners == 0)
    assert not [record for record in caplog.records if record.exc_info]


async def test_streams_that_end_release_their_slots(source: Source) -> None:
    async with asking(streaming_service(source)) as client:
        for _ in range(3 * STREAMS):
            assert (await client.get("/short")).text == "ab"


async def test_a_response_of_known_length_does_not_count_as_a_stream(source: Source) -> None:
    service = small_service(streaming_router(source), auth=False, layers=Layers(max_streams=0))
    async with asking(service) as client:
        for path in ("/file", "/plain", "/docs"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/books", headers={"If-None-Match": "*"})).status_code == 404


async def test_a_response_without_content_does_not_count_as_a_stream() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with asking(Admission(nothing, limit=1, max_streams=0)) as client:
        assert (await client.get("/")).status_code == 204


async def test_sending_after_the_refusal_is_refused_too() -> None:
    failures = []

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        for message in (start, {"type": "http.response.body", "body": b"x"}):
            try:
                await send(message)
            except OSError as failure:
                failures.append(failure)

    async with asking(Admission(stubborn, limit=1, max_streams=0)) as client:
        assert (await client.get("/")).status_code == 503
    assert len(failures) == 2


async def test_a_head_of_an_endless_stream_ends(source: Source, caplog: pytest.LogCaptureFixture) -> None:
    async with asking(streaming_service(source), raises=True) as client:
        answer = await asyncio.wait_for(client.head("/response"), 20)
    assert (answer.status_code, answer.content) == (200, b"")
    await until_collected(lambda: source.listeners == 0)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/response", "/lines", "/events"])
async def test_a_head_of_an_endless_stream_ends_while_its_client_stays(source: Source, path: str) -> None:
    result = await exchange(streaming_service(source), "HEAD", path)
    assert (result.status, result.body, len(result.messages)) == (200, b"", 2)
    assert not result.messages[-1].get("more_body")
    await until_collected(lambda: source.listeners == 0)


def test_websockets_have_slots_of_streams(source: Source) -> None:
    client = TestClient(streaming_service(source))
    with client:
        sockets = [client.websocket_connect("/ws") for _ in range(STREAMS)]
        for socket in sockets:
            socket.__enter__()
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/ws"):
            pass
        assert (refused.value.status_code, refused.value.json()["type"]) == (503, "urn:problem:unavailable")
        assert client.get("/plain").status_code == 200
        for socket in sockets:
            socket.send_text("over")
            socket.__exit__(None, None, None)
        with client.websocket_connect("/ws") as again:
            again.send_text("over")


async def test_a_websocket_is_closed_where_the_server_cannot_refuse_it_with_a_response(source: Source) -> None:
    sent = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    service = small_service(streaming_router(source), auth=False, layers=Layers(max_streams=0))
    await service({"type": "websocket", "path": "/ws", "headers": [], "query_string": b""}, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1013)]


async def test_each_event_loop_has_slots_of_its_own() -> None:
    entered = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def fast(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("done")(scope, receive, send)

    admission = Admission(slow, limit=1)
    async with asking(admission) as client:
        running = asyncio.create_task(client.get("/"))
        await entered.wait()
        admission.app = fast

        async def ask() -> int:
            async with asking(admission) as other:
                return (await other.get("/")).status_code

        assert await asyncio.to_thread(lambda: asyncio.run(ask())) == 200
        running.cancel()
        await asyncio.wait([running])
        assert (await client.get("/")).status_code == 200
