"""Plain routes: routes of FastAPI without the kit's route class. The bounds of JSON bodies apply to them too.

A `max_body_size` of FastAPI, of the route, its routers or the application, takes the place of `MAX_BODY_SIZE`.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from kit.http.bodies import is_json, read_body
from kit.http.documents import refuse_many_values
from kit.runtime import Runtime

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
"""FastAPI's function that reads a request, calls the handler and makes the response."""


class BoundedRequest(Request):
    """A request whose JSON body has at most `MAX_BODY_SIZE` bytes and `MAX_BODY_VALUES` values; more are a 413."""

    def __init__(self, scope: Scope, receive: Receive, runtime: Runtime) -> None:
        super().__init__(scope, receive)
        self.runtime = runtime

    async def body(self) -> bytes:
        given = dict(self.scope["headers"])
        if not hasattr(self, "_body") and is_json(given) and not has_own_limit(self.scope):
            self._body = await read_body(self.receive, given, self.runtime.max_body_size)
        return await super().body()

    async def json(self) -> Any:
        body = await self.body()
        if len(body) > self.runtime.max_body_values:  # a value takes at least a byte
            refuse_many_values(body, self.runtime.max_body_values)
        return await super().json()


class PlainRoute(APIRoute):
    """The class of plain routes. In an application without the kit they have no bounds."""

    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            runtime = getattr(request.scope["app"], "runtime", None)
            bounded = BoundedRequest(request.scope, request.receive, runtime) if isinstance(runtime, Runtime) else None
            return await handle(bounded or request)

        return handle_bounded


def has_own_limit(scope: Scope) -> bool:
    """Return whether FastAPI bounds the size of the body."""
    app = scope["app"]
    contexts = getattr(app, "contexts", {}).get(id(scope["route"]), ())
    return app.max_body_size is not None or any(context.max_body_size is not None for context in contexts)


def bound_body(route: object) -> None:
    """Make a route of another router a plain route, before FastAPI includes it. Own classes of routes stay."""
    if type(route) is APIRoute:
        route.__class__ = PlainRoute
