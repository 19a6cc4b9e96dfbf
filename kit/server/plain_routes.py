"""Plain routes: routes of FastAPI without the kit's route class, which read JSON and forms in the same way.

Text is normalised to NFC, JSON is parsed strictly, and JSON bodies have a maximum size: FastAPI's `max_body_size` of
the route, its routers or the application, or else `MAX_BODY_SIZE`. `request.body()` returns the bytes as they were
sent.
"""

import sys
from collections.abc import Callable, Coroutine
from functools import cache
from json import JSONDecodeError
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.bodies import is_json, read_body, refuse_encoded
from kit.http.documents import parse
from kit.http.problems import Problem
from kit.http.request_headers import headers
from kit.http.texts import ComposedForm, compose_query
from kit.operations.route import Operation
from kit.runtime import Runtime
from kit.server.files import ignore_other_ranges

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
"""FastAPI's function that reads a request, calls the handler, and makes the response."""


class InvalidDocumentError(Problem, JSONDecodeError):
    """The 400 for a body that is not JSON. Handlers may also catch it as the JSONDecodeError of `Request.json`."""

    def __init__(self, problem: Problem) -> None:
        Problem.__init__(self, problem.status_code, problem.detail, kind=problem.kind)
        self.msg, self.doc, self.pos = problem.detail, "", 0


class ComposedRequest(Request):
    """A request whose JSON is parsed strictly, and whose JSON and forms have text in NFC."""

    max_values = sys.maxsize

    async def json(self) -> Any:
        body = await self.body()
        refuse_encoded(headers(self.scope, b"content-encoding"))
        try:
            return parse(body, self.max_values)
        except Problem as problem:
            if problem.status_code != 400:
                raise
            raise InvalidDocumentError(problem) from problem

    def form(self, **limits: Any) -> Any:
        return ComposedForm(super().form(**limits))


class BoundedRequest(ComposedRequest):
    """A request whose JSON body may have at most `MAX_BODY_SIZE` bytes and `MAX_BODY_VALUES` values. Raises a 413."""

    def __init__(self, scope: Scope, receive: Receive, runtime: Runtime) -> None:
        super().__init__(scope, receive)
        self.max_size, self.max_values = runtime.max_body_size, runtime.max_body_values

    async def body(self) -> bytes:
        given = dict(self.scope["headers"])
        if not hasattr(self, "_body") and is_json(given) and not has_own_limit(self.scope):
            self._body = await read_body(self.receive, given, self.max_size)
        return await super().body()


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
    """A route whose handler gets a `ComposedRequest`. Outside of a `Service` it is a usual route."""

    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()

        async def handle_read(request: Request) -> Response:
            runtime = getattr(request.scope["app"], "runtime", None)
            if not isinstance(runtime, Runtime):
                return await handle(request)
            response = await handle(self.read(request, runtime))
            if isinstance(response, FileResponse):
                ignore_other_ranges(request.scope)
            return response

        return handle_read

    def read(self, request: Request, runtime: Runtime) -> Request:
        return ComposedRequest(request.scope, request.receive)


class PlainRoute(ReadRoute):
    """The class of plain routes, whose handlers get a `BoundedRequest`."""

    def read(self, request: Request, runtime: Runtime) -> Request:
        return BoundedRequest(request.scope, request.receive, runtime)


def has_own_limit(scope: Scope) -> bool:
    """Return whether the route has a `max_body_size` of FastAPI."""
    app = scope["app"]
    contexts = getattr(app, "contexts", {}).get(id(scope["route"]), ())
    return app.max_body_size is not None or any(context.max_body_size is not None for context in contexts)


def read_as_operations(route: object) -> None:
    """Change the class of a route to `PlainRoute`, unless it is an operation. Called before its router is included.

    A route class of the application is extended by `ReadRoute`, without a maximum size: it may be for uploads.
    """
    if type(route) is APIRoute:
        route.__class__ = PlainRoute
    elif isinstance(route, APIRoute) and not isinstance(route, (Operation, ReadRoute)):
        kind: Any = type(route)
        route.__class__ = extended(kind)


@cache
def extended(kind: type[APIRoute]) -> type[APIRoute]:
    return type(kind.__name__, (ReadRoute, kind), {"__module__": kind.__module__})
