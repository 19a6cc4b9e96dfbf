"""Plain routes: routes of FastAPI without the kit's route class, which read JSON and forms in the same way.

Text is normalised to NFC, JSON is parsed strictly, and JSON bodies have a maximum size: FastAPI's `max_body_size` of
the route, its routers or the application, or else `MAX_BODY_SIZE`. `request.body()` returns the bytes as they were
sent.
"""

import sys
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, ClassVar, cast

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.bodies import BufferedRequest, expects_continue, is_json, refuse_encoded
from kit.http.request_headers import headers, ignore_other_ranges
from kit.http.texts import compose_query
from kit.operations.callers import check_permission, get_caller
from kit.operations.route import Operation
from kit.operations.unit_of_work import OperationRequest
from kit.runtime import Runtime, runtime_of

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
"""FastAPI's function that reads a request, calls the handler, and makes the response."""


class ComposedRequest(BufferedRequest):
    """A request whose JSON is parsed strictly, and whose JSON and forms have text in NFC.

    A body up to `MAX_BODY_SIZE` is kept for other requests on the same scope.
    """

    max_values = sys.maxsize

    @property
    def limit(self) -> int:
        return runtime_of(self).max_body_size

    async def json(self) -> Any:
        await self.body()
        refuse_encoded(headers(self.scope, b"content-encoding"))
        return await super().json()


class BoundedRequest(ComposedRequest):
    """A request whose JSON body may have at most `MAX_BODY_SIZE` bytes and `MAX_BODY_VALUES` values. Raises a 413."""

    async def receive_body(self) -> bytes:
        self.max_values = runtime_of(self).max_body_values
        given = dict(self.scope["headers"])
        if is_json(given) and not has_own_limit(self.scope):
            return await self.read(given, self.limit)
        return await super().receive_body()


class ComposedQuery:
    """ASGI middleware around the routes, which normalises the query string to NFC.

    Bytes that are not UTF-8 are left to plain routes, which may read them; operations refuse them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            compose_query(scope, keeps_bytes=True)
        await self.app(scope, receive, send)


class ReadRoute(APIRoute):
    """A route whose requests are of the class `request_class`, for all functions that get them.

    Outside of a `Service` it is a usual route.
    """

    request_class: ClassVar[type[BufferedRequest]] = ComposedRequest

    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()

        async def handle_read(request: Request) -> Response:
            if not isinstance(getattr(request.scope["app"], "runtime", None), Runtime):
                return await handle(request)
            request.__class__ = self.request_class
            if expects_continue(request.scope):
                await check_caller(request)
            response = await handle(request)
            if isinstance(response, FileResponse):
                ignore_other_ranges(request.scope)
            return response

        return handle_read


class PlainRoute(ReadRoute):
    """The class of plain routes, whose requests are `BoundedRequest`s."""

    request_class = BoundedRequest


class ReadOperation(ReadRoute):
    """An operation whose route class has a `get_route_handler` of its own, which may read the body too."""

    request_class = OperationRequest


async def check_caller(request: Request) -> None:
    """Check the permission before the body is read. FastAPI does it afterwards, and while there are overrides only it.

    Raises a 401 or 403.
    """
    if not request.scope["app"].dependency_overrides:
        await check_permission(request, await get_caller(request))


def has_own_limit(scope: Scope) -> bool:
    """Return whether the route has a `max_body_size` of FastAPI."""
    app = scope["app"]
    contexts = getattr(app, "contexts", {}).get(id(scope["route"]), ())
    return app.max_body_size is not None or any(context.max_body_size is not None for context in contexts)


def read_as_operations(route: object) -> None:
    """Change the class of a route, so that its requests are buffered. Called before its router is included.

    Requests to plain routes get limits. A route class of the application is extended by `ReadRoute`, without a maximum
    size, because it may be for uploads.
    """
    if type(route) is APIRoute:
        route.__class__ = PlainRoute
    elif isinstance(route, Operation):
        if type(route).get_route_handler is not Operation.get_route_handler and not isinstance(route, ReadRoute):
            route.__class__ = extended(ReadOperation, cast("Any", type(route)))
    elif isinstance(route, APIRoute) and not isinstance(route, ReadRoute):
        route.__class__ = extended(ReadRoute, cast("Any", type(route)))


@cache
def extended(base: type[ReadRoute], kind: type[APIRoute]) -> Any:
    return type(kind.__name__, (base, kind), {"__module__": kind.__module__})
