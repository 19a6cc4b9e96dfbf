"""The order of routes: the first route that matches serves, also after routes were changed at run time."""

from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import APIRouter
from httpx import AsyncClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route

from kit import allowing
from tests.kit.habits.conftest import client_of


async def first(_: Request) -> PlainTextResponse:
    return PlainTextResponse("first")


async def application(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("first")(scope, receive, send)


@pytest.fixture
def items(router: APIRouter) -> APIRouter:
    """Provide a router whose operations have a shortcut."""

    @router.get("/items/")
    async def list_items() -> str:
        return "items"

    @router.post("/items/")
    async def create_item() -> str:
        return "created"

    @router.get("/items/{item_id}")
    async def read_item(item_id: int) -> str:
        return f"item {item_id}"

    return router


async def text(client: AsyncClient, path: str, method: str = "GET") -> str:
    return (await client.request(method, path)).text.strip('"')


FIRST: dict[str, BaseRoute] = {
    "mount at nothing": Mount("", application),
    "mount at a slash": Mount("/", application),
    "mount at a parameter": Mount("/{place}", application),
    "mount at the path": Mount("/items", application),
    "host": Host("test", application),
    "route": Route("/items/", first, methods=["GET", "POST"]),
    "route with a parameter": Route("/{name}/", first, methods=["GET", "POST"]),
    "route for any path": Route("/{path:path}", first, methods=["GET", "POST"]),
}


@pytest.mark.parametrize("kind", FIRST)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_of_starlette_that_comes_first_serves(
    items: APIRouter, new_service: Any, kind: str, method: str
) -> None:
    service = new_service(items)
    service.router.routes.insert(0, FIRST[kind])
    async with client_of(service) as client:
        assert await text(client, "/items/", method) == "first"


@pytest.mark.parametrize("path", ["/{name}/", "/{name}", "/items", "/items/"])
async def test_a_plain_route_that_comes_first_serves(items: APIRouter, new_service: Any, path: str) -> None:
    outer = APIRouter()

    @outer.get(path, include_in_schema=False)  # the document does not allow duplicate operations
    async def read_any() -> str:
        return "first"

    outer.include_router(items)
    async with client_of(new_service(outer)) as client:
        assert await text(client, path.replace("{name}", "items")) == "first"
        assert await text(client, "/items/", "POST") == "created"


async def test_a_mount_after_all_routes_gets_the_other_paths(items: APIRouter, new_service: Any) -> None:
    service = new_service(items)
    service.mount("/", application)
    async with client_of(service) as client:
        assert await text(client, "/items/") == "items"
        assert await text(client, "/items") == "first"
        assert await text(client, "/items/1/") == "first"


async def test_a_path_whose_route_has_another_method_keeps_its_slash(items: APIRouter, new_service: Any) -> None:
    @items.put("/items")
    async def replace() -> str:
        return "replaced"

    async with client_of(new_service(items)) as client:
        assert (await client.get("/items")).status_code == 405
        assert await text(client, "/items", "PUT") == "replaced"
        assert await text(client, "/items/") == "items"


async def test_a_router_that_is_included_after_the_first_request_serves(
    items: APIRouter, new_router: Any, new_service: Any
) -> None:
    service, late = new_service(items), cast("APIRouter", new_router())
    async with client_of(service) as client:
        assert await text(client, "/items/") == "items"

        @late.get("/late/")
        async def read_late() -> str:
            return "late"

        service.include_router(late)
        assert await text(client, "/late/") == "late"


async def test_a_route_that_is_added_to_an_included_router_serves(items: APIRouter, new_service: Any) -> None:
    outer = APIRouter(prefix="/v1")
    outer.include_router(items)
    service = new_service(outer)
    async with client_of(service) as client:
        assert await text(client, "/v1/items/") == "items"

        @items.get("/late/")
        async def read_late() -> str:
            return "late"

        assert await text(client, "/v1/late/") == "late"


async def test_a_route_that_is_removed_at_run_time_serves_no_more(items: APIRouter, new_service: Any) -> None:
    service = new_service(items)
    async with client_of(service) as client:
        assert await text(client, "/items/1") == "item 1"
        service.router.routes = [route for route in service.routes if getattr(route, "original_router", 0) is not items]
        assert (await client.get("/items/1")).status_code == 404


async def test_a_route_that_is_replaced_at_run_time_serves_in_its_place(items: APIRouter, new_service: Any) -> None:
    service = new_service(items)
    place = next(at for at, route in enumerate(service.routes) if getattr(route, "original_router", 0) is items)
    async with client_of(service) as client:
        assert await text(client, "/items/1") == "item 1"
        service.router.routes[place] = Route("/items/{item_id}", first)
        assert await text(client, "/items/1") == "first"


async def test_pages_of_a_router_come_after_its_operations(items: APIRouter, new_service: Any, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    service = new_service(items)
    service.router.frontend("/pages", directory=str(tmp_path))
    async with client_of(service) as client:
        assert await text(client, "/items/") == "items"
        assert await text(client, "/items") == "items"
        assert await text(client, "/pages/") == "page"


async def test_a_route_class_with_its_own_matches_is_used(items: APIRouter, new_service: Any) -> None:
    class Sometimes(allowing()):  # type: ignore[misc]  # a class that a function returns
        def matches(self, scope: Any) -> Any:
            return super().matches(scope) if b"x-please" in dict(scope["headers"]) else (Match.NONE, {})

    router = APIRouter(route_class=Sometimes, tags=["items"])

    @router.get("/items/2")
    async def read_second() -> str:
        return "second"

    async with client_of(new_service(router, items)) as client:
        assert (await client.get("/items/2")).json() == "item 2"
        assert (await client.get("/items/2", headers={"X-Please": "1"})).json() == "second"


async def test_a_route_of_starlette_beside_operations_serves_its_own_path(items: APIRouter, new_service: Any) -> None:
    service = new_service(items)
    service.router.routes.insert(0, Route("/items/special", first))
    async with client_of(service) as client:
        assert await text(client, "/items/1") == "item 1"
        assert await text(client, "/items/special") == "first"
