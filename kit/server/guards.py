"""Guards: add permission checks to routes that are not FastAPI's, such as mounted applications."""

from typing import Any, cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from kit.operations.callers import check_permission
from kit.operations.dependencies import compose_text
from kit.server.files import Files

GUARDED = "kit.guarded"
"""The key in the ASGI scope of the guarded application."""


class PermissionCheck:
    """Calls an ASGI application if the caller has the permission of the route in the scope.

    FastAPI calls `check_permission`, so that dependency overrides of the application apply.
    """

    def __init__(self, application: FastAPI) -> None:
        checks = [Depends(check_permission), Depends(compose_text)]
        router = APIRouter(dependencies=checks, dependency_overrides_provider=application)
        router.add_api_route("/", serve_request, include_in_schema=False, response_model=None)
        router.add_api_websocket_route("/", serve_websocket)
        http, websocket = router.routes
        self.http, self.websocket = cast("APIRoute", http).app, cast("APIWebSocketRoute", websocket).app

    async def serve(self, guarded: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope[GUARDED] = guarded
        check = self.http if scope["type"] == "http" else self.websocket
        await check(scope, receive, send)


async def serve_request(request: Request) -> Response:
    return GuardedResponse(request.scope.pop(GUARDED))


async def serve_websocket(websocket: WebSocket) -> None:
    guarded: ASGIApp = websocket.scope.pop(GUARDED)
    await guarded(websocket.scope, websocket.receive, websocket.send)


class GuardedResponse(Response):
    """The response of an ASGI application."""

    def __init__(self, application: ASGIApp) -> None:
        super().__init__()
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


class Guard:
    """Wraps an ASGI application, and checks the permission before it. Outside of a `Service` it checks nothing."""

    def __init__(self, route: BaseRoute, guarded: ASGIApp, endpoint: Any) -> None:
        self.route, self.guarded, self.endpoint = route, guarded, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check = getattr(scope.get("app"), "permission_check", None)
        if not isinstance(check, PermissionCheck):
            await self.guarded(scope, receive, send)
            return
        scope["route"] = self.route
        await check.serve(self.guarded, scope, receive, send)


def guard(route: BaseRoute, served: BaseRoute | None = None) -> None:
    """Wrap the application of a route in a guard, unless the route is FastAPI's.

    `served` is the copy of the route that FastAPI has made for an included router; None for a route without a copy.
    """
    copy = served or route
    if isinstance(copy, (APIRoute, APIWebSocketRoute)) or not isinstance(copy, (Route, WebSocketRoute, Mount, Host)):
        return
    if not isinstance(copy.app, Guard):
        served_app = Files(copy.app) if isinstance(copy.app, StaticFiles) else copy.app
        copy.app = Guard(route, served_app, getattr(copy, "endpoint", copy.app))
        if isinstance(copy, (Route, WebSocketRoute)):
            copy.endpoint = copy.app  # FastAPI copies routes of included routers by their endpoint


def is_guarded(served: BaseRoute) -> bool:
    """Return whether a route that is not FastAPI's has a guard."""
    return isinstance(getattr(served, "app", None), Guard)
