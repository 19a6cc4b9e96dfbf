"""Plain routes: their JSON bodies have the bounds of all others."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from kit import Service
from tests.kit.server.small import asking, small_service

MANY, LARGE = b"[" + b"0," * 40_000 + b"0]", b'"' + b"x" * 2**20 + b'"'
JSON = {"Content-Type": "application/json"}


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
