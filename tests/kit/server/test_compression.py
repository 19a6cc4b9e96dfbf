"""Compression: by gzip, for clients that accept it, and never of streams."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from kit import Service
from kit.http.codings import MIN_SIZE, AcceptedCoding, accepted_coding
from kit.server.compression import AT_ONCE
from tests.engines import Client
from tests.kit.probes import new_shelf
from tests.kit.server.small import small_service

LONG = "a long text, " * 1000


@pytest.mark.parametrize(
    ("header", "wish"),
    [
        ("gzip", AcceptedCoding.GZIP),
        ("gzip, deflate, br, zstd", AcceptedCoding.GZIP),
        ("GZIP;q=0.5", AcceptedCoding.GZIP),
        ("x-gzip", AcceptedCoding.GZIP),
        ("*", AcceptedCoding.GZIP),
        ("br, *;q=0.1", AcceptedCoding.GZIP),
        ("gzip ; q=1.000 , identity ; Q=0.5", AcceptedCoding.GZIP),
        ("", AcceptedCoding.PLAIN),
        ("br, zstd", AcceptedCoding.PLAIN),
        ("gzip;q=0", AcceptedCoding.PLAIN),
        ("gzip;q=0.000, *", AcceptedCoding.PLAIN),
        ("*;q=0", AcceptedCoding.PLAIN),
        ("identity", AcceptedCoding.PLAIN),
        ("identity, gzip;q=0.5", AcceptedCoding.PLAIN),
        ("gzip;q=2", AcceptedCoding.PLAIN),
        ("gzip;q=", AcceptedCoding.PLAIN),
        ("gzip;q=-1", AcceptedCoding.PLAIN),
        ("gzipped", AcceptedCoding.PLAIN),
        ("\x00", AcceptedCoding.PLAIN),
        ("gzip," * 1000, AcceptedCoding.PLAIN),
        ("identity;q=0, gzip", AcceptedCoding.ALWAYS),
        ("gzip, *;q=0", AcceptedCoding.ALWAYS),
        ("*;q=0, identity;q=0, br", AcceptedCoding.PLAIN),
    ],
)
def test_accept_encoding_is_read_as_the_rfc_says(header: str, wish: AcceptedCoding) -> None:
    assert accepted_coding(header.encode("latin-1")) is wish


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Provide a service with responses of many kinds."""
    service = small_service(auth=False)
    (tmp_path / "long.txt").write_text(LONG * 20)
    responses: dict[str, Any] = {
        "long": lambda: PlainTextResponse(LONG, headers={"ETag": '"2"'}),
        "short": lambda: PlainTextResponse("x" * (MIN_SIZE - 1)),
        "just-long-enough": lambda: PlainTextResponse("x" * MIN_SIZE),
        "image": lambda: Response(LONG, media_type="image/png"),
        "encoded": lambda: Response(gzip.compress(LONG.encode()), headers={"Content-Encoding": "gzip"}),
        "fixed": lambda: PlainTextResponse(LONG, headers={"Cache-Control": "no-transform"}),
        "weak": lambda: PlainTextResponse(LONG, headers={"ETag": 'W/"x"', "Vary": "Origin"}),
        "json": lambda: Response(f'"{LONG}"', media_type="application/vnd.thing+json"),
        "huge": lambda: PlainTextResponse(LONG * 100),
        "file": lambda: FileResponse(tmp_path / "long.txt"),
        "stream": lambda: StreamingResponse(iter([LONG]), media_type="text/plain"),
        "events": lambda: Response(f"data: {LONG}\n\n", media_type="text/event-stream"),
    }
    for name, respond in responses.items():
        service.add_api_route(f"/{name}", respond, response_class=Response)
    return service


async def get(service: Service, path: str, accepted: Any = "gzip", method: str = "GET", **headers: str) -> Any:
    """Return the response and its body as it was sent."""
    lines = [accepted] if isinstance(accepted, str) else accepted
    given = [("Accept-Encoding", line) for line in lines] + list(headers.items())
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        del client.headers["Accept-Encoding"]
        answer = await client.send(client.build_request(method, path, headers=given), stream=True)
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


@pytest.mark.parametrize("path", ["/long", "/just-long-enough", "/json", "/huge", "/file", "/weak"])
async def test_a_long_text_is_compressed(service: Service, path: str) -> None:
    plain, whole = await get(service, path, "identity")
    answer, body = await get(service, path)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == whole
    assert len(body) < len(whole) / 3
    assert answer.headers.get("Content-Length", str(len(body))) == str(len(body))
    for one in (plain, answer):
        assert "Accept-Encoding" in one.headers["Vary"]
    head, nothing = await get(service, path, method="HEAD")
    assert (head.status_code, nothing) == (200, b"")
    kept = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    assert kept.items() <= head.headers.items()


@pytest.mark.parametrize("path", ["/short", "/image", "/encoded", "/fixed", "/stream", "/events"])
async def test_other_responses_are_sent_as_they_are(service: Service, path: str) -> None:
    plain, whole = await get(service, path, "identity")
    answer, body = await get(service, path)
    assert (body, answer.headers.get("Content-Length")) == (whole, plain.headers.get("Content-Length"))
    assert "Accept-Encoding" not in answer.headers.get("Vary", "")
    assert answer.headers.get("Content-Encoding") == plain.headers.get("Content-Encoding")


async def test_who_does_not_accept_gzip_gets_no_gzip(service: Service) -> None:
    for accepted in ("identity", "br", "gzip;q=0", ["gzip", "identity;q=1, gzip;q=0"], []):
        answer, body = await get(service, "/long", accepted)
        assert (body.decode(), answer.headers["ETag"]) == (LONG, '"2"'), accepted
    answer, body = await get(service, "/long", ["br", "gzip"])
    assert gzip.decompress(body).decode() == LONG


async def test_who_accepts_nothing_else_gets_gzip_of_short_texts_too(service: Service) -> None:
    answer, body = await get(service, "/short", "gzip, identity;q=0")
    assert (answer.headers["Content-Encoding"], len(gzip.decompress(body))) == ("gzip", MIN_SIZE - 1)


async def test_the_parts_of_a_file_have_no_length_that_is_wrong(service: Service) -> None:
    assert "Content-Length" not in (await get(service, "/file"))[0].headers
    part, some = await get(service, "/file", Range="bytes=0-4999")
    assert (part.status_code, len(some), "Content-Encoding" in part.headers) == (206, 5000, False)


async def test_the_tag_of_a_compressed_response_is_weak(service: Service) -> None:
    assert (await get(service, "/long"))[0].headers["ETag"] == 'W/"2"'
    assert (await get(service, "/weak"))[0].headers["ETag"] == 'W/"x"'


async def test_a_tag_of_a_compressed_row_is_usable(client: Client) -> None:
    shelf = await new_shelf(client, name="\U0001f4da" * 100, room="\U0001f4d6" * 200)
    url = f"/shelves/{shelf['id']}"
    read = await client.get(url)
    assert (read.headers["Content-Encoding"], read.headers["ETag"]) == ("gzip", 'W/"1"')
    known = {"If-None-Match": read.headers["ETag"]}
    same = await client.get(url, headers=known)
    assert (same.status_code, same.headers["ETag"], same.headers["Vary"]) == (304, 'W/"1"', "Accept-Encoding")
    plain = await client.get(url, headers=known | {"Accept-Encoding": "identity"})
    assert (plain.status_code, plain.headers["ETag"]) == (304, '"1"')
    change = {"name": "\U0001f4d6" * 100}
    assert (await client.patch(url, json=change, headers={"If-Match": read.headers["ETag"]})).status_code == 200
    assert (await client.patch(url, json=change, headers={"If-Match": read.headers["ETag"]})).status_code == 412


async def test_a_long_list_is_compressed(client: Client) -> None:
    for number in range(20):
        await new_shelf(client, name=f"Shelf {number}")
    answer = await client.get("/shelves/")
    assert (len(answer.json()), answer.headers["Content-Encoding"]) == (20, "gzip")
    same = await client.get("/shelves/", headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status_code, same.headers["Vary"]) == (304, "Accept-Encoding")


async def test_a_huge_response_does_not_block_the_event_loop() -> None:
    service = small_service(auth=False)
    body = bytes(range(256)) * (12 * 2**20 // 256)
    service.add_api_route("/", lambda: Response(body, media_type="text/plain"), response_class=Response)
    service.router.routes.insert(0, service.router.routes.pop())
    await get(service, "/health/live")  # the first request checks the routes
    asked = asyncio.create_task(get(service, "/"))
    longest, before = 0.0, time.thread_time()  # the processor time of this thread, whatever else the machine does
    while not asked.done():
        await asyncio.sleep(0.001)
        longest, before = max(longest, time.thread_time() - before), time.thread_time()
    assert gzip.decompress((await asked)[1]) == body
    assert longest < 0.1
    assert len(body) > AT_ONCE


async def chunks() -> AsyncIterator[str]:
    for _ in range(3):
        yield LONG


async def messages_of(service: Service, path: str, http_version: str) -> list[Any]:
    """Return the messages of a response to a client that accepts gzip."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "query_string": b"", "scheme": "http"}
    scope |= {"headers": [(b"accept-encoding", b"gzip")], "http_version": http_version, "asgi": {"spec_version": "2.4"}}
    await service(scope, receive, send)
    return sent


async def test_the_chunks_of_a_stream_arrive_one_by_one() -> None:
    service = small_service(auth=False)
    service.add_api_route(
        "/chunks", lambda: StreamingResponse(chunks(), media_type="text/plain"), response_class=Response
    )
    _, *parts = await messages_of(service, "/chunks", "1.1")
    assert [len(part.get("body", b"")) for part in parts] == [len(LONG)] * 3 + [0]


@pytest.mark.parametrize(("path", "is_compressed"), [("/long", True), ("/file", False)])
async def test_http_1_0_has_no_bodies_of_unknown_length(service: Service, path: str, is_compressed: bool) -> None:
    start, *parts = await messages_of(service, path, "1.0")
    headers = dict(start["headers"])
    assert (b"content-encoding" in headers) is is_compressed
    assert int(headers[b"content-length"]) == sum(len(part.get("body", b"")) for part in parts)


async def test_the_document_is_compressed_as_far_as_possible(client: Client) -> None:
    answer = await client.get("/openapi.json")
    plain = await client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert answer.json() == plain.json()
    assert (answer.headers["ETag"], plain.headers["Vary"]) == (plain.headers["ETag"], "Accept-Encoding")
    assert int(answer.headers["Content-Length"]) == len(gzip.compress(plain.content, mtime=0))
    for accepted in ("gzip", "identity"):
        headers = {"If-None-Match": answer.headers["ETag"], "Accept-Encoding": accepted}
        same = await client.get("/openapi.json", headers=headers)
        assert (same.status_code, same.headers["Vary"]) == (304, "Accept-Encoding")
