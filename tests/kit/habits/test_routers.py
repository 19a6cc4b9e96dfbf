"""Routers: dependencies, prefixes and tags of applications and routers, slashes, and methods."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from starlette.convertors import CONVERTOR_TYPES, Convertor
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kit import Service, Session, allowing
from tests.kit.habits.conftest import client_of
from tests.kit.habits.items import HabitItem
from tests.kit.service import create_runtime, create_service

CALLS: list[str] = []


def calls(name: str) -> Any:
    async def note() -> None:
        CALLS.append(name)

    return Depends(note)


async def needs_header(x_word: Annotated[str, Header()]) -> None:
    if x_word != "right":
        raise HTTPException(418, "Wrong word.")


async def respond(request: Request) -> Response:
    return Response()


async def test_dependencies_of_the_application_and_of_routers_run_in_order(new_router: Any, serve: Any) -> None:
    CALLS.clear()
    outer: APIRouter = new_router(dependencies=[calls("outer")])
    inner: APIRouter = new_router(dependencies=[calls("inner")])

    @inner.get("/items", dependencies=[calls("route")])
    async def read() -> int:
        return 1

    outer.include_router(inner, dependencies=[calls("included")])
    client = await serve(outer, dependencies=[calls("application")])
    assert (await client.get("/items")).json() == 1
    assert CALLS == ["application", "outer", "included", "inner", "route"]


async def test_an_included_router_has_its_prefix_tags_and_parameters(new_router: Any, serve: Any) -> None:
    inner: APIRouter = new_router()
    outer = APIRouter()

    async def take(verbose: Annotated[bool, Query()] = False) -> None: ...

    @inner.get("/items")
    async def read() -> int:
        return 1

    outer.include_router(inner, prefix="/v1", tags=["first"], dependencies=[Depends(take), Depends(needs_header)])
    client = await serve(outer)
    assert (await client.get("/v1/items?verbose=true", headers={"X-Word": "right"})).json() == 1
    assert (await client.get("/v1/items", headers={"X-Word": "wrong"})).status_code == 418
    assert (await client.get("/v1/items")).status_code == 422
    operation = (await client.get("/openapi.json")).json()["paths"]["/v1/items"]["get"]
    assert operation["tags"] == ["first"]
    assert {"verbose", "x-word"} <= {parameter["name"] for parameter in operation["parameters"]}


async def test_a_router_may_be_included_twice(new_router: Any, serve: Any) -> None:
    inner: APIRouter = new_router(tags=["items"])
    outer = APIRouter()

    @inner.get("/items")
    async def list_items() -> int:
        return 1

    outer.include_router(inner, prefix="/v1")
    outer.include_router(inner, prefix="/v2")
    client = await serve(outer)
    assert (await client.get("/v1/items")).json() == (await client.get("/v2/items")).json() == 1
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert paths["/v1/items"]["get"]["operationId"] != paths["/v2/items"]["get"]["operationId"]


async def test_a_dependency_of_a_router_may_write(new_router: Any, serve: Any, names: Any) -> None:
    async def audit(session: Session, request: Request) -> None:
        session.add(HabitItem(name=request.method))

    router: APIRouter = new_router()
    outer = APIRouter()

    @router.put("/items")
    async def replace() -> int:
        return 1

    outer.include_router(router, dependencies=[Depends(audit)])
    client = await serve(outer)
    assert (await client.put("/items")).json() == 1
    assert await names() == ["PUT"]


async def test_a_path_answers_with_and_without_its_slash(router: APIRouter, serve: Any) -> None:
    @router.post("/with/")
    async def with_slash(session: Session) -> int:
        return 1

    @router.get("/without")
    async def without_slash() -> int:
        return 2

    client = await serve(router)
    assert [(await client.post(path)).json() for path in ("/with", "/with/")] == [1, 1]
    assert [(await client.get(path)).json() for path in ("/without", "/without/")] == [2, 2]
    for method, path in (("POST", "/with//"), ("GET", "/without//"), ("GET", "/without///")):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["instance"]) == (404, path)


@pytest.mark.parametrize("path", ["/a;b=c", "/+1", "/%2B1", "/a,b!$&'()*", "/%c3%a9", "/%C3%A9~", "/a%20b", "/%2525"])
async def test_the_instance_of_a_problem_is_the_path_as_it_was_sent(serve: Any, router: APIRouter, path: str) -> None:
    client = await serve(router)
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["instance"]) == (404, path)


async def test_a_405_lists_all_methods_of_the_path(router: APIRouter, serve: Any) -> None:
    @router.get("/items/")
    async def read() -> int:
        return 1

    @router.post("/items/", dependencies=[Depends(needs_header)])
    async def create() -> int:
        return 2

    client = await serve(router)
    for path in ("/items", "/items/"):
        answer = await client.delete(path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_a_405_of_an_endpoint_lists_its_own_methods(router: APIRouter, new_service: Any) -> None:
    class Endpoint(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return Response()

    @router.get("/own")
    async def own(has_allow: bool) -> None:
        raise HTTPException(405, "Not today.", {"allow": "PUT"} if has_allow else None)

    service = new_service(router)
    service.add_route("/endpoint", Endpoint)
    service.router.routes.append(Mount("/m", routes=[Route("/in", respond)]))
    async with client_of(service) as client:
        answers = [await client.put(path) for path in ("/endpoint", "/m/in", "/own")]
        assert [sorted(answer.headers["allow"].split(", ")) for answer in answers] == [["GET", "HEAD"]] * 3
        answers = [await client.get("/own", params={"has_allow": value}) for value in (True, False)]
        assert [answer.headers["allow"] for answer in answers] == ["PUT", ""]
        assert [answer.json()["detail"] for answer in answers] == ["Not today."] * 2


class DateConvertor(Convertor[date]):
    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

    def convert(self, value: str) -> date:
        return date.fromisoformat(value)


async def test_a_path_that_a_convertor_refuses_is_a_404(
    router: APIRouter, new_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONVERTOR_TYPES, "date", DateConvertor())

    @router.get("/days/{day:date}")
    async def read(day: date) -> date:
        return day

    @router.get("/numbers/{number:int}")
    async def number(number: int) -> int:
        if not number:
            raise ValueError
        return number

    @router.delete("/days/{day}/")
    async def delete(day: str) -> None: ...

    service = new_service(router)
    service.router.routes.append(Mount("/m", routes=[Route("/{number:int}", respond)]))
    async with client_of(service) as client:
        huge = "9" * 4301
        paths = (
            "/days/2026-11-30",
            "/days/2026-13-45",
            "/numbers/1",
            f"/numbers/{huge}",
            "/numbers/0",
            "/m/1",
            f"/m/{huge}",
        )
        assert [(await client.get(path)).status_code for path in paths] == [200, 404, 200, 404, 500, 200, 404]
        assert (await client.get("/days/2026-13-45/")).status_code == 405


async def test_every_method_may_have_a_handler(router: APIRouter, serve: Any) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):

        @router.api_route("/items", methods=[method])
        async def handle(request: Request) -> str:
            return request.method

    client = await serve(router)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert (await client.request(method, "/items")).json() == method


async def test_one_handler_may_serve_several_methods(router: APIRouter, serve: Any) -> None:
    @router.api_route("/items", methods=["GET", "HEAD"])
    async def read() -> int:
        return 1

    @router.api_route("/items", methods=["PUT", "PATCH"])
    async def write(session: Session) -> int:
        return 2

    client = await serve(router)
    assert (await client.get("/items")).json() == 1
    assert (await client.put("/items")).json() == (await client.patch("/items")).json() == 2
    head = await client.head("/items")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_handler_of_get_that_takes_session_is_refused(router: APIRouter, serve: Any) -> None:
    @router.get("/items")
    async def read(session: Session) -> int:
        return 1

    with pytest.raises(ValueError, match=r"read \(GET /items\) takes `Session`, which writes: take `ReadSession`"):
        await serve(router)


async def test_url_for_finds_a_route_by_its_name(router: APIRouter, serve: Any) -> None:
    @router.get("/items/{item_id}", name="item")
    async def read(item_id: int, request: Request) -> str:
        return str(request.url_for("item", item_id=item_id + 1))

    client = await serve(router)
    assert (await client.get("/items/1")).json() == "http://test/items/2"


async def test_the_order_of_routes_decides(router: APIRouter, serve: Any) -> None:
    @router.get("/items/special")
    async def special() -> str:
        return "special"

    @router.get("/items/{name}")
    async def general(name: str) -> str:
        return f"general {name}"

    client = await serve(router)
    assert (await client.get("/items/special")).json() == "special"
    assert (await client.get("/items/other")).json() == "general other"


async def test_the_endpoint_of_a_route_is_called_as_a_function(router: APIRouter) -> None:
    @router.get("/double/{number}")
    async def double(number: int) -> int:
        return 2 * number

    (route,) = router.routes
    assert await route.endpoint(2) == await double(2) == 4  # type: ignore[attr-defined]


async def test_middleware_of_the_application_surrounds_every_operation(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read() -> str:
        return "a"

    service: Service = new_service(router)

    @service.middleware("http")
    async def sign(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["X-Signed"] = request.url.path
        return response

    async with client_of(service) as client:
        answer = await client.get("/a")
    assert (answer.json(), answer.headers["x-signed"]) == ("a", "/a")


class Gate:
    """Middleware that lets no request through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        respond = self.app if scope["type"] == "lifespan" else PlainTextResponse("closed", 403)
        await respond(scope, receive, send)


async def test_middleware_is_not_skipped_whenever_it_was_added(router: APIRouter, new_service: Any) -> None:
    @router.get("/a")
    async def read() -> str:
        return "a"

    def append(service: Service) -> None:
        service.user_middleware.append(Middleware(Gate))

    given = new_service(router, middleware=[Middleware(Gate)])
    appended, added = new_service(router), new_service(router)
    append(appended)
    added.add_middleware(Gate)
    for service in (given, appended, added):
        async with service.router.lifespan_context(service), client_of(service) as client:
            assert (await client.get("/a")).status_code == 403


async def test_the_log_shows_the_path_with_the_prefix_of_the_inclusion(
    router: APIRouter, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @router.get("/items/{item_id}")
    async def read(item_id: int) -> int:
        return item_id

    outer = APIRouter()
    outer.include_router(router, prefix="/v1")
    twice = APIRouter()
    twice.include_router(outer, prefix="/old")
    twice.include_router(outer, prefix="/new")
    client = await serve(outer, twice)
    with caplog.at_level("INFO", "kit"):
        for path in ("/v1/items/1", "/old/v1/items/2", "/new/v1/items/3"):
            assert (await client.get(path)).status_code == 200
    logged = [record.route for record in caplog.records if hasattr(record, "route")]
    assert logged == ["/v1/items/{item_id}", "/old/v1/items/{item_id}", "/new/v1/items/{item_id}"]


def test_an_operation_equals_itself_only() -> None:
    router = APIRouter(route_class=allowing())
    for _ in range(2):
        router.get("/same")(read_nothing)
    first, second = router.routes
    assert [first == first, first == second, len({first, second})] == [True, False, 2]


async def read_nothing() -> None:
    """Not called."""


async def test_the_placeholders_of_examples_are_known_before_the_document(app: Service) -> None:
    service = create_service(create_runtime(app.runtime.database))
    assert service.example_placeholders() == service.new_document()[1] != []


async def test_dependencies_of_the_application_are_not_those_of_health_checks_and_docs(
    router: APIRouter, new_service: Any
) -> None:
    @router.get("/a")
    async def read() -> None: ...

    service: Service = new_service(
        router, dependencies=[Depends(needs_header)], security_contacts=["mailto:a@example.com"]
    )
    metrics = pytest.importorskip("kit.metrics")
    metrics.install(service, metrics.Access())

    @service.get("/own")
    async def own() -> None: ...

    async with client_of(service) as client:
        open_paths = ("health/live", "docs", "docs/style.css", "openapi.json", ".well-known/security.txt", "metrics")
        assert [(await client.get(path)).status_code for path in open_paths] == [200] * 6
        for path in ("/a", "/own"):
            assert (await client.get(path)).status_code == 422
            assert (await client.get(path, headers={"X-Word": "right"})).status_code == 200
        document = (await client.get("/openapi.json")).json()["paths"]
        assert "parameters" not in document["/health/live"]["get"]
