"""Plain routes: their JSON and forms are read as those of operations, in bounds and in the form NFC."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from fastapi import APIRouter, Body, FastAPI, Form, Request, WebSocket
from fastapi.routing import APIRoute
from pydantic import BaseModel, Json
from starlette.responses import Response
from starlette.testclient import TestClient, WebSocketDenialResponse

from kit import Service
from tests.kit.server.small import asking, small_service

MANY, LARGE = b"[" + b"0," * 40_000 + b"0]", b'"' + b"x" * 2**20 + b'"'
JSON = {"Content-Type": "application/json"}
MARK = "\u0301"
NFD, NFC = "cafe\u0301", "caf\u00e9"


def add_routes(router: FastAPI | APIRouter) -> None:
    @router.post("/typed")
    async def typed(body: Annotated[Any, Body()]) -> int:
        return len(body)

    @router.post("/by-hand")
    async def by_hand(request: Request) -> int:
        return len(await request.json())

    @router.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.post("/streamed")
    async def streamed(request: Request) -> int:
        return len([part async for part in request.stream()])


def of_application() -> Service:
    service = small_service(auth=False)
    add_routes(service)
    return service


def of_router() -> Service:
    inner, outer = APIRouter(), APIRouter()
    add_routes(inner)
    outer.include_router(inner)
    return small_service(outer, auth=False)


def of_late_router() -> Service:
    service, router = small_service(auth=False), APIRouter()
    service.include_router(router)
    add_routes(router)
    return service


@pytest.mark.parametrize("make", [of_application, of_router, of_late_router])
async def test_bodies_of_plain_routes_have_bounds(make: Callable[[], Service]) -> None:
    async with asking(make()) as client:
        for path in ("/typed", "/by-hand"):
            small = await client.post(path, json=[1, 2])
            assert (small.status_code, small.json()) == (200, 2), path
            for body in (MANY, LARGE):
                answer = await client.post(path, content=body, headers=JSON)
                assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem:body-too-large"), path
            assert (await client.post(path, content=MANY[:-4000] + b"0]", headers=JSON)).status_code == 200
        assert (await client.post("/raw", content=MANY, headers=JSON)).json() == len(MANY)
        assert (await client.post("/raw", content=LARGE, headers=JSON)).status_code == 413
        assert (await client.post("/raw", content=LARGE)).json() == len(LARGE)
        assert (await client.post("/streamed", content=MANY, headers=JSON)).status_code == 200


async def test_numbers_of_plain_routes_are_floats_and_in_their_range() -> None:
    service = small_service(auth=False)

    @service.post("/types")
    async def types(body: Annotated[Any, Body()]) -> list[str]:
        return [type(part).__name__ for part in body]

    async with asking(service) as client:
        answer = await client.post("/types", content=b"[0.1234567890123456789, 1e2]", headers=JSON)
        assert answer.json() == ["float", "float"]
        for number in ("1e-400", "-1e400"):
            refused = await client.post("/types", content=f"[1, {number}]", headers=JSON)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/1")


async def test_a_route_class_of_the_user_reads_bodies_as_it_likes() -> None:
    class Counting(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def counting(request: Request) -> Response:
                response = await handle(request)
                response.headers["X-Read"] = "own"
                return response

            return counting

    router = APIRouter(route_class=Counting)
    add_routes(router)
    async with asking(small_service(router, auth=False)) as client:
        answer = await client.post("/typed", content=MANY, headers=JSON)
        assert (answer.status_code, answer.headers["X-Read"]) == (200, "own")


async def test_a_router_in_another_application_has_no_bounds_there() -> None:
    router, other = APIRouter(), FastAPI()
    add_routes(router)
    small_service(router, auth=False).check_routes()
    other.include_router(router)
    async with asking(other) as client:
        assert (await client.post("/typed", content=MANY, headers=JSON)).json() == 40_001


@pytest.mark.parametrize("level", ["application", "router", "inclusion"])
async def test_a_limit_of_fastapi_takes_the_place_of_the_general_one(level: str) -> None:
    limit: dict[str, Any] = {"max_body_size": 3 * 2**20}
    router, outer = APIRouter(**limit if level == "router" else {}), APIRouter()
    add_routes(router)
    outer.include_router(router, **limit if level == "inclusion" else {})
    service = small_service(outer, auth=False, **limit if level == "application" else {})
    async with asking(service) as client:
        assert (await client.post("/raw", content=LARGE, headers=JSON)).json() == len(LARGE)
        assert (await client.post("/raw", content=LARGE * 4, headers=JSON)).status_code == 413


class Saying(BaseModel):
    text: str


class Passing(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return super().get_route_handler()


def add_texts(router: FastAPI | APIRouter) -> None:
    @router.post("/of-body")
    async def of_body(body: Saying) -> str:
        return body.text

    @router.post("/of-json")
    async def of_json(request: Request) -> Any:
        return (await request.json())["text"]

    @router.post("/of-form")
    async def of_form(text: Annotated[str, Form()]) -> str:
        return text

    @router.get("/of-parameters/{part}")
    async def of_parameters(part: str, text: str) -> str:
        return f"{part}/{text}"

    @router.post("/signed")
    async def signed(request: Request) -> bool:
        return NFD.encode() in await request.body()

    @router.websocket("/talk")
    async def talk(websocket: WebSocket, text: str) -> None:
        await websocket.accept()
        await websocket.send_text(text)
        await websocket.close()


def with_texts(kind: type[APIRoute]) -> Service:
    router = APIRouter(route_class=kind)
    add_texts(router)
    return small_service(router, auth=False)


@pytest.mark.parametrize("kind", [APIRoute, Passing])
async def test_text_of_plain_routes_is_composed(kind: type[APIRoute]) -> None:
    async with asking(with_texts(kind)) as client:
        said = [
            await client.post("/of-body", json={"text": NFD}),
            await client.post("/of-body", content=f'{{"text": "{NFD}"}}'.encode(), headers=JSON),
            await client.post("/of-json", json={"text": NFD}),
            await client.post("/of-form", data={"text": NFD}),
            await client.post("/of-form", data={"text": NFD}, files={"unused": b""}),
        ]
        assert [answer.json() for answer in said] == [NFC] * 5
        assert (await client.get(f"/of-parameters/{NFD}", params={"text": NFD})).json() == f"{NFC}/{NFC}"
        assert (await client.get("/of-parameters/a", params={"text": "e" + "\u0301" * 31})).status_code == 422
        assert (await client.post("/signed", content=NFD.encode(), headers=JSON)).json() is True


def test_text_in_the_query_of_a_websocket_is_composed() -> None:
    with TestClient(with_texts(APIRoute)) as client, client.websocket_connect(f"/talk?text={quote(NFD)}") as talk:
        assert talk.receive_text() == NFC


def test_a_websocket_with_too_many_marks_is_refused() -> None:
    url = f"/talk?text={quote('e' + MARK * 31)}"
    with TestClient(with_texts(APIRoute)) as client, pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect(url).__enter__()
    assert refused.value.status_code == 422


async def test_a_query_that_is_composed_is_not_encoded_again() -> None:
    service = small_service(auth=False)

    @service.get("/signed")
    async def signed(request: Request) -> str:
        return request.url.query

    async with asking(service) as client:
        for query in ("text=caf%c3%a9%20a;b&c", "text=%ff", "text=a+b%2Bc"):
            assert (await client.get(f"/signed?{query}")).json() == query


@pytest.mark.parametrize("kind", [APIRoute, Passing])
@pytest.mark.parametrize("path", ["/of-body", "/of-json"])
async def test_json_of_plain_routes_is_parsed_as_that_of_operations(path: str, kind: type[APIRoute]) -> None:
    async with asking(with_texts(kind)) as client:
        for body in (b'{"text": "a", "text": "b"}', b'{"text": NaN}', b"{", b'{"text": "\xff"}', b"[" * 100_000):
            answer = await client.post(path, content=body, headers=JSON)
            assert (answer.status_code, answer.json()["type"]) == (400, "urn:problem:malformed-body"), body[:30]
        answer = await client.post(path, content=b'\xef\xbb\xbf{"text": "a"}', headers=JSON)
        assert (answer.status_code, answer.json()) == (200, "a")
        answer = await client.post(path, content=b'{"text": "a"}', headers=JSON | {"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")
        marks = await client.post(path, json={"text": "e" + "\u0301" * 31})
        assert marks.status_code == 422


async def test_a_text_within_a_body_that_is_not_json_is_a_422() -> None:
    service = small_service(auth=False)

    @service.post("/nested")
    async def nested(text: Annotated[Json[int], Body(embed=True)]) -> int:
        return text

    async with asking(service) as client:
        assert (await client.post("/nested", json={"text": "1"})).json() == 1
        answer = await client.post("/nested", json={"text": "{"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/text")


async def test_a_handler_may_catch_that_a_body_is_not_json() -> None:
    service = small_service(auth=False)

    @service.post("/lenient")
    async def lenient(request: Request) -> str:
        try:
            return str(await request.json())
        except json.JSONDecodeError as failure:
            return failure.msg

    async with asking(service) as client:
        assert (await client.post("/lenient", content=b"{", headers=JSON)).json().startswith("The body is not JSON")
