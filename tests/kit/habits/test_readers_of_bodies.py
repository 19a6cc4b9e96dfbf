"""Readers of bodies: exception handlers, route classes, request classes and handlers all get the body of a request."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from kit import Session
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitItem
from tests.kit.test_retry import failure_of
from tests.waiting import TIMEOUT_SECONDS

JSON = {"Content-Type": "application/json"}
LONG = b'{"title": "' + b"a" * 2**20 + b'"}'
Handle = Callable[[Request], Awaitable[Response]]
Around = Callable[[Request, Handle], Awaitable[Response]]


class Item(BaseModel):
    title: str
    size: int = 1


class RefusedError(Exception):
    """An exception of the application."""


async def in_parts(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a body that has no Content-Length."""
    for part in parts:
        yield part


async def answer_with_body(request: Request, _: Exception) -> Response:
    return JSONResponse({"body": (await request.body()).decode()}, 418)


@pytest.fixture
def around(router: APIRouter) -> Callable[[Around], APIRouter]:
    """Provide a function that makes a router, whose route class passes each request to a function."""

    def make(function: Around) -> APIRouter:
        class Own(router.route_class):  # type: ignore[name-defined,misc]
            def get_route_handler(self) -> Any:
                handle: Handle = super().get_route_handler()

                async def own(request: Request) -> Response:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        return await function(request, handle)

                return own

        made = APIRouter(route_class=Own)

        @made.post("/items")
        async def write(item: Item) -> Item:
            return item

        @made.get("/items")
        async def read(item: Item) -> Item:
            return item

        @made.post("/raw")
        async def write_raw(request: Request) -> str:
            return (await request.body()).decode()

        return made

    return make


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("content", [b"{}", b'{"title": "raise"}'])
async def test_an_exception_handler_gets_the_body(
    router: APIRouter, new_service: Any, method: str, content: bytes
) -> None:
    @router.api_route("/items", methods=[method])
    async def handle(item: Item) -> None:
        raise RefusedError

    service = new_service(router)
    for kind in (RequestValidationError, RefusedError):
        service.add_exception_handler(kind, answer_with_body)
    async with client_of(service) as client:
        answer = await asyncio.wait_for(
            client.request(method, "/items", content=content, headers=JSON), TIMEOUT_SECONDS
        )
    assert (answer.status_code, answer.json()) == (418, {"body": content.decode()})


async def test_the_exception_of_an_invalid_request_has_its_body_and_the_place_of_the_handler(
    router: APIRouter, new_service: Any, way: str
) -> None:
    @router.post("/items")
    async def write(item: Item) -> Item:
        return item

    async def answer(_: Request, failure: Any) -> Response:
        return JSONResponse(jsonable_encoder({"body": failure.body, "path": failure.endpoint_path}), 418)

    service = new_service(router)
    service.add_exception_handler(RequestValidationError, answer)
    async with client_of(service) as client:
        sent = [await client.post("/items", json={"size": 2}), await client.post("/items")]
    assert [said.json()["body"] for said in sent] == [{"size": 2}, None]
    assert {said.json()["path"] for said in sent} == {"POST /items"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_class_reads_the_body_before_the_handler(around: Any, serve: Any, method: str) -> None:
    async def measured(request: Request, handle: Handle) -> Response:
        size = len(await request.body())
        response = await handle(request)
        response.headers["X-Size"] = str(size)
        return response

    client = await serve(around(measured))
    answer = await client.request(method, "/items", content=b'{"title":"a"}', headers=JSON)
    assert (answer.status_code, answer.headers["X-Size"]) == (200, "13")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_class_reads_the_body_after_a_failure(around: Any, serve: Any, method: str) -> None:
    async def explained(request: Request, handle: Handle) -> Response:
        try:
            return await handle(request)
        except RequestValidationError:
            raise HTTPException(422, (await request.body()).decode()) from None

    client = await serve(around(explained))
    answer = await client.request(method, "/items", content=b"{}", headers=JSON)
    assert answer.json()["detail"] == "{}"


class GzipRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            body = await super().body()
            self._body = gzip.decompress(body) if "gzip" in self.headers.getlist("Content-Encoding") else body
        return self._body


class UpperRequest(Request):
    async def json(self) -> Any:
        return {name: value.upper() for name, value in (await super().json()).items()}


async def decompressed(request: Request, handle: Handle) -> Response:
    return await handle(GzipRequest(request.scope, request.receive))


async def in_capitals(request: Request, handle: Handle) -> Response:
    await request.body()  # the next request gets the body too
    return await handle(UpperRequest(request.scope, request.receive))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_methods_of_a_request_class_are_called(around: Any, serve: Any, method: str) -> None:
    client = await serve(around(decompressed))
    body, coded = gzip.compress(b'{"title":"a"}'), {**JSON, "Content-Encoding": "gzip"}
    assert (await client.request(method, "/items", content=body, headers=coded)).json()["title"] == "a"
    client = await serve(around(in_capitals))
    assert (await client.request(method, "/items", content=b'{"title":"a"}', headers=JSON)).json()["title"] == "A"


async def test_an_exception_handler_gets_the_body_that_another_request_has_read(around: Any, new_service: Any) -> None:
    service = new_service(around(decompressed))
    service.add_exception_handler(RequestValidationError, answer_with_body)
    async with client_of(service) as client:
        answer = await asyncio.wait_for(client.post("/items", content=b"{}", headers=JSON), TIMEOUT_SECONDS)
    assert answer.json() == {"body": "{}"}


@pytest.mark.parametrize("way", ["resource"], indirect=True)
async def test_a_request_class_reads_at_most_the_maximum_size(around: Any, serve: Any) -> None:
    client = await serve(around(decompressed))
    coded = {**JSON, "Content-Encoding": "gzip"}
    for sent in ({"content": LONG}, {"content": in_parts(LONG)}, {"content": gzip.compress(LONG), "headers": coded}):
        assert (await client.post("/items", **{"headers": JSON, **sent})).status_code == 413


@pytest.mark.parametrize("way", ["plain"], indirect=True)
async def test_a_request_class_of_plain_routes_reads_bodies_of_any_size_once(around: Any, new_service: Any) -> None:
    async def read_twice(request: Request, handle: Handle) -> Response:
        await handle(Request(request.scope, request.receive))
        with pytest.raises(RuntimeError, match="Stream consumed"):
            await request.body()
        raise RefusedError

    service = new_service(around(read_twice))
    service.add_exception_handler(RefusedError, lambda *_: Response(status_code=418))
    async with client_of(service) as client:
        for content in (LONG, in_parts(LONG[:100], LONG[100:])):
            assert (await client.post("/raw", content=content)).status_code == 418


@pytest.mark.parametrize("way", ["resource"], indirect=True)
async def test_each_attempt_has_a_request_of_the_own_class(
    router: APIRouter, around: Any, serve: Any, names: Any
) -> None:
    seen: list[Request] = []
    inner = around(in_capitals)

    @inner.post("/boxes")  # type: ignore[untyped-decorator]
    async def write(request: Request, name: Annotated[str, Body(embed=True)], session: Session) -> None:
        seen.append(request)
        session.add(HabitItem(name=name))
        if len(seen) == 1:
            raise failure_of("40001")

    client = await serve(inner)
    assert (await client.post("/boxes", json={"name": "a"})).status_code == 200
    assert (len(set(map(id, seen))), {type(request) for request in seen}) == (2, {UpperRequest})
    assert await names() == ["A"]


async def test_a_handler_makes_another_request_from_its_own(router: APIRouter, serve: Any) -> None:
    @router.post("/items")
    async def write(item: Item, request: Request) -> str:
        other = Request(request.scope, request.receive)
        return (await asyncio.wait_for(other.body(), TIMEOUT_SECONDS)).decode()

    assert (
        await (await serve(router)).post("/items", content=b'{"title": "a"}', headers=JSON)
    ).json() == '{"title": "a"}'


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"title": "a"}', "application/json", 200),
        (b"", "application/json", 422),
        (b"{bad", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"title": "a", "title": "b"}', "application/json", 400),
        (LONG, "application/json", 413),
        (b'{"title": "a"}', "text/plain", None),
    ],
)
async def test_the_body_of_a_get_is_read_as_that_of_a_post(
    router: APIRouter, serve: Any, content: bytes, kind: str, status: int | None
) -> None:
    @router.api_route("/items", methods=["GET", "POST"])
    async def handle(item: Item) -> Item:
        return item

    client = await serve(router)
    asked = [
        await client.request(method, "/items", content=content, headers={"Content-Type": kind})
        for method in ("GET", "POST")
    ]
    assert asked[0].status_code == asked[1].status_code
    assert status is None or asked[0].status_code == status


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_handler_of_get_reads_its_body_within_the_limits(
    router: APIRouter, serve: Any, new_service: Any
) -> None:
    @router.get("/items")
    async def read(request: Request) -> int:
        return len(await request.json())

    client = await serve(router)
    assert (await client.request("GET", "/items", content=b"[1, 2]")).json() == 2
    for content in (LONG, in_parts(LONG), b"[" + b"0," * 50_000 + b"0]"):
        assert (await client.request("GET", "/items", content=content)).status_code == 413


@pytest.mark.parametrize("content", [b"", b"abc"])
async def test_the_body_of_a_get_is_there_after_the_check_of_the_connection(
    router: APIRouter, serve: Any, content: bytes
) -> None:
    @router.get("/items")
    async def read(request: Request) -> str:
        assert not await request.is_disconnected()
        await asyncio.sleep(0.2)
        assert not await request.is_disconnected()
        return (await request.body()).decode()

    client = await serve(router)
    answer = await asyncio.wait_for(client.request("GET", "/items", content=content), TIMEOUT_SECONDS)
    assert answer.json() == content.decode()


@pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)
async def test_a_slow_handler_of_get_may_ignore_or_read_a_body_over_the_limit(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read(request: Request, reads: bool) -> str:
        await asyncio.sleep(0.2)
        return (await request.body()).decode() if reads else "done"

    client = await serve(router)
    for reads, status in ((False, 200), (True, 413)):
        for content in (LONG, in_parts(LONG), in_parts(*[LONG[:1000]] * 3000)):
            sent = client.request("GET", "/items", content=content, params={"reads": reads})
            assert (await asyncio.wait_for(sent, TIMEOUT_SECONDS)).status_code == status


@pytest.mark.parametrize("parts", [[LONG], [LONG[:1000]] * 3000])
async def test_an_exception_handler_gets_no_part_of_a_body_that_was_refused(
    around: Any, router: APIRouter, new_service: Any, way: str, parts: list[bytes]
) -> None:
    @router.post("/others")
    async def write(item: Item) -> Item:
        return item

    service = new_service(router, around(decompressed) if way == "resource" else APIRouter())
    service.add_exception_handler(413, answer_with_body)
    async with client_of(service) as client:
        for path in ("/others", "/items") if way == "resource" else ("/others",):
            for content in (in_parts(*parts), b"".join(parts)):
                sent = client.post(path, content=content, headers=JSON)
                answer = await asyncio.wait_for(sent, TIMEOUT_SECONDS)
                assert (answer.status_code, answer.json()) == (418, {"body": ""})
