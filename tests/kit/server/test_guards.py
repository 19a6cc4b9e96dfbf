"""Permissions of routes that are not FastAPI's: superusers, unless `public` lists them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from kit import Principal, ReadSession, Service, allowing, get_caller, get_read_session
from tests.kit.server.small import MEMBER, SUPERUSER_ID, asking, bearer, small_service

Add = Callable[[Service], None]


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


class Endpoint:
    """An ASGI application as an endpoint of Starlette."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("hello")(scope, receive, send)


def other_application() -> FastAPI:
    other = FastAPI()

    @other.get("/hello")
    async def hello_there(request: Request) -> PlainTextResponse:
        assert request.app is other
        return PlainTextResponse("hello")

    return other


def add_mount(service: Service) -> None:
    service.mount("/x", other_application())


def add_mount_to_router(service: Service) -> None:
    service.router.mount("/x", other_application())


def add_host(service: Service) -> None:
    service.host("test", other_application())


def add_route(service: Service) -> None:
    service.add_route("/x/hello", hello)


def add_endpoint(service: Service) -> None:
    service.router.routes.append(Route("/x/hello", Endpoint()))


def include_route(service: Service) -> None:
    router, outer = APIRouter(), APIRouter(prefix="/x")
    router.add_route("/hello", hello)
    outer.include_router(router)
    service.include_router(outer)


def include_mount(service: Service) -> None:
    router = APIRouter()
    router.routes.append(Mount("/x", other_application()))
    service.include_router(router)


def include_host(service: Service) -> None:
    router = APIRouter()
    router.routes.append(Host("test", other_application()))
    service.include_router(router)


ADDED = [
    (add_mount, "MOUNT /x", "/x/hello"),
    (add_mount_to_router, "MOUNT /x", "/x/hello"),
    (add_host, "HOST test", "/hello"),
    (add_route, "GET /x/hello", "/x/hello"),
    (add_endpoint, "ANY /x/hello", "/x/hello"),
    (include_route, "GET /x/hello", "/x/hello"),
    (include_mount, "MOUNT /x", "/x/hello"),
    (include_host, "HOST test", "/hello"),
]
added = pytest.mark.parametrize(("add", "name", "path"), ADDED)


@added
async def test_routes_that_are_not_fastapis_are_for_superusers(add: Add, name: str, path: str) -> None:
    service = small_service()
    add(service)
    async with asking(service) as client:
        anonymous = await client.get(path)
        assert (anonymous.status_code, anonymous.headers["Content-Type"]) == (401, "application/problem+json")
        assert anonymous.headers["WWW-Authenticate"] == "Bearer"
        assert (await client.get(path, headers=bearer(MEMBER))).status_code == 403
        superuser = await client.get(path, headers=bearer(SUPERUSER_ID))
    assert (superuser.status_code, superuser.text) == (200, "hello")


@added
async def test_routes_listed_in_public_are_for_anyone(add: Add, name: str, path: str) -> None:
    service = small_service(public={name})
    add(service)
    async with asking(service) as client:
        assert (await client.get(path)).text == "hello"


@added
async def test_an_override_of_the_caller_counts(add: Add, name: str, path: str) -> None:
    service = small_service()
    add(service)
    service.dependency_overrides[get_caller] = lambda: Principal(SUPERUSER_ID, frozenset({"superuser"}))
    async with asking(service) as client:
        assert (await client.get(path)).text == "hello"


@added
async def test_without_authentication_every_route_is_public(add: Add, name: str, path: str) -> None:
    service = small_service(auth=False)
    add(service)
    async with asking(service) as client:
        assert (await client.get(path)).text == "hello"


async def test_routes_added_after_the_first_request_are_guarded_too() -> None:
    service = small_service()
    async with asking(service) as client:
        assert (await client.get("/x/hello")).status_code == 404
        add_mount_to_router(service)
        assert (await client.get("/x/hello")).status_code == 401


LATE: list[tuple[Callable[[APIRouter], object], str]] = [
    (lambda router: router.add_route("/hello", hello), "/x/hello"),
    (lambda router: router.routes.append(Route("/hello", Endpoint())), "/x/hello"),
    (lambda router: router.mount("/y", other_application()), "/x/y/hello"),
    (lambda router: router.host("test", other_application()), "/x/hello"),
]


@pytest.mark.parametrize(("add", "path"), LATE)
@pytest.mark.parametrize("is_noticed_by_fastapi", [True, False])
async def test_routes_added_to_a_nested_router_after_the_first_request_are_guarded_too(
    add: Callable[[APIRouter], object], path: str, is_noticed_by_fastapi: bool
) -> None:
    router, outer = APIRouter(), APIRouter(prefix="/x")
    router.add_route("/first", hello)
    outer.include_router(router)
    service = small_service(outer)
    async with asking(service) as client:
        assert (await client.get("/x/first")).status_code == 401
        add(router)
        router.add_route("/last", hello)
        if is_noticed_by_fastapi:
            list(iter_route_contexts(service.routes))
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bearer(MEMBER))).status_code == 403
        assert (await client.get(path, headers=bearer(SUPERUSER_ID))).text == "hello"


async def test_a_frontend_of_a_router_is_for_superusers(pages: Path) -> None:
    router = APIRouter()
    service = small_service(router)
    async with asking(service) as client:
        assert (await client.get("/x/")).status_code == 404
        router.frontend("/x", directory=str(pages))
        service.router.frontend("/y", directory=str(pages))
        for path in ("/x/", "/y/"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=bearer(SUPERUSER_ID))).status_code == 200


async def test_a_router_that_another_application_includes_too_is_not_guarded_there() -> None:
    router = APIRouter()
    router.add_route("/hello", hello)
    service, other = small_service(router), FastAPI()
    other.include_router(router)
    async with asking(service) as guarded, asking(other) as free:
        assert (await guarded.get("/hello")).status_code == 401
        assert (await free.get("/hello")).text == "hello"


def test_a_mounted_application_has_no_routes_that_need_a_service() -> None:
    other, overridden = FastAPI(), FastAPI()

    async def things(session: ReadSession) -> None: ...

    for app in (other, overridden):
        app.add_api_route("/things", things)
        app.mount("/static", FastAPI())
    overridden.dependency_overrides[get_read_session] = lambda: None
    service = small_service()
    service.mount("/overridden", overridden)
    service.check_routes()
    service.mount("/other", other)
    with pytest.raises(ValueError, match=r"MOUNT /other.*GET /things.*include its router in the service, by"):
        service.check_routes()


async def test_an_operation_in_another_application_reports_what_it_needs() -> None:
    router, other = APIRouter(route_class=allowing()), FastAPI()

    @router.get("/things")
    async def list_things() -> list[str]:
        return []

    other.include_router(router)
    async with asking(other, raises=True) as client:
        with pytest.raises(TypeError, match=r"needs an application of the class `kit\.Service`"):
            await client.get("/things")


async def test_a_handler_of_starlette_knows_its_request() -> None:
    async def show(request: Request) -> PlainTextResponse:
        body = (await request.body()).decode()
        return PlainTextResponse(f"{request.path_params['name']} {body} {request.url_for('show', name='b').path}")

    service = small_service(auth=False)
    service.add_route("/names/{name}", show, methods=["POST"])
    async with asking(service) as client:
        assert (await client.post("/names/a", content="text")).text == "a text /names/b"


def add_starlette_websocket(service: Service) -> None:
    service.router.add_websocket_route("/ws", echo)


def include_starlette_websocket(service: Service) -> None:
    router = APIRouter()
    router.add_websocket_route("/ws", echo)
    service.include_router(router)


def add_websocket(service: Service) -> None:
    service.add_api_websocket_route("/ws", echo)


def include_websocket(service: Service) -> None:
    router = APIRouter()
    router.add_api_websocket_route("/ws", echo)
    service.include_router(router)


def add_starlette_websocket_late(service: Service) -> None:
    router = APIRouter()
    router.add_route("/hello", hello)
    service.include_router(router)
    list(iter_route_contexts(service.routes))
    router.add_websocket_route("/ws", echo)
    list(iter_route_contexts(service.routes))


SOCKETS = [
    add_starlette_websocket_late,
    add_starlette_websocket,
    include_starlette_websocket,
    add_websocket,
    include_websocket,
]


@pytest.mark.parametrize("add", SOCKETS)
def test_a_websocket_is_for_superusers(add: Add) -> None:
    service = small_service()
    add(service)
    client = TestClient(service)
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/ws"):
        pass
    assert denied.value.status_code == 401
    assert denied.value.json()["type"] == "urn:problem:unauthenticated"
    with client.websocket_connect("/ws", headers=bearer(SUPERUSER_ID)) as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("add", SOCKETS)
def test_a_websocket_that_public_lists_is_for_anyone(add: Add) -> None:
    service = small_service(public={"WEBSOCKET /ws"})
    add(service)
    with TestClient(service).websocket_connect("/ws") as socket:
        assert socket.receive_text() == "hello"


async def test_a_websocket_is_closed_where_the_server_cannot_refuse_it_with_a_response() -> None:
    service = small_service()
    sent: list[Message] = []
    add_websocket(service)

    async def connect() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "extensions": {}}
    await service(scope, connect, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


def test_a_websocket_that_was_accepted_is_closed_after_a_failure() -> None:
    service = small_service(public={"WEBSOCKET /ws"})

    @service.websocket("/ws")
    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise HTTPException(418, "It is a teapot.")

    with TestClient(service).websocket_connect("/ws") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "It is a teapot.")


@pytest.mark.parametrize("failure", [HTTPException(400, "ü" * 120), WebSocketException(1008, "ü" * 120)])
def test_the_reason_for_closing_a_websocket_has_at_most_123_bytes(failure: Exception) -> None:
    service = small_service(public={"WEBSOCKET /ws"})

    @service.websocket("/ws")
    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise failure

    with TestClient(service).websocket_connect("/ws") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "ü" * 61)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<p>start</p>")
    (tmp_path / "app.js").write_text("run()")
    return tmp_path


async def test_a_frontend_is_for_superusers(pages: Path) -> None:
    service = small_service()
    service.frontend("/app", directory=pages)
    async with asking(service) as client:
        assert (await client.get("/app/app.js")).status_code == 401
        assert (await client.get("/app/app.js", headers=bearer(SUPERUSER_ID))).text == "run()"


async def test_a_frontend_that_public_lists_is_for_anyone_and_may_run_its_scripts(pages: Path) -> None:
    service = small_service(public={"FRONTEND /app"})
    service.frontend("/app", directory=pages)
    service.frontend("/app/admin", directory=pages)
    async with asking(service) as client:
        page = await client.get("/app/")
        assert (page.text, page.headers["Content-Security-Policy"]) == ("<p>start</p>", "frame-ancestors 'none'")
        assert (await client.get("/app/admin/app.js")).status_code == 401
        assert (await client.get("/nowhere")).status_code == 404


async def test_a_frontend_at_the_root_leaves_all_routes_reachable_with_and_without_slash(pages: Path) -> None:
    router = APIRouter()

    @router.get("/things/")
    async def list_things() -> list[str]:
        return ["one"]

    service = small_service(router, auth=False)
    service.frontend("/", directory=pages)
    async with asking(service) as client:
        assert (await client.get("/things")).json() == ["one"]
        assert (await client.get("/app.js")).text == "run()"
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/missing.js")).json()["type"] == "urn:problem:not-found"


async def test_the_assets_of_the_docs_are_public_because_they_are_listed() -> None:
    async with asking(small_service()) as client:
        assert (await client.get("/docs/assets/swagger-ui.css")).status_code == 200


def test_static_files_are_mounted_as_fastapi_documents(pages: Path) -> None:
    service = small_service(public={"MOUNT /static"})
    service.mount("/static", StaticFiles(directory=pages), name="static")
    client = TestClient(service)
    assert client.get("/static/app.js").text == "run()"
    assert service.url_path_for("static", path="app.js") == "/static/app.js"


def test_a_websocket_exception_closes_with_its_code() -> None:
    service = small_service(auth=False)

    @service.websocket("/after")
    async def after(websocket: WebSocket) -> None:
        await websocket.accept()
        raise WebSocketException(4001, "enough")

    @service.websocket("/before")
    async def before(websocket: WebSocket, needed: int) -> None:
        await websocket.accept()

    client = TestClient(service)
    with client.websocket_connect("/after") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (4001, "enough")
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)), client.websocket_connect("/before"):
        pass
