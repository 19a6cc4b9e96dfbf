"""Dispatch: a request goes straight to its operation, found by method and first path segment, past FastAPI's layers.

Requests of other routes, and all requests while a dependency is overridden, go on to FastAPI's router.
"""

import re
from collections import defaultdict
from typing import Any

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from opentelemetry import _logs, metrics, trace
from starlette._utils import get_route_path, is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.fast.arguments import Arguments
from kit.fast.bodies import validated
from kit.fast.rendering import Rendering
from kit.operations.route import Operation
from kit.operations.unit_of_work import UNIT, perform
from kit.server.service import Service

METRICS: Any = metrics._internal
LOGS: Any = _logs._internal
LITERAL = re.compile(r"/([^/{]+)(?=/|$)")


class Shortcut:
    """An operation that is served without FastAPI: its arguments, its handler and its rendering."""

    def __init__(self, context: RouteContext, route: Operation, arguments: Arguments) -> None:
        self.route, self.arguments, self.handler = route, arguments, route.handler
        self.rendering = Rendering(context)
        self.path_regex = re.compile(context.path_regex.pattern.removesuffix("$").rstrip("/") + r"/?\Z")
        self.convertors = context.param_convertors

    async def handle(self, request: Request) -> Response:
        unit = UNIT.get()
        assert unit is not None
        arguments = await self.arguments.take(unit)
        if self.arguments.body:
            with validated(arguments.values()):
                result = await self.handler(**arguments)
        else:
            result = await self.handler(**arguments)
        await unit.flush()
        return await self.rendering.render(unit, result)


class Dispatch:
    """Serves the operations that have a shortcut; passes on all other requests."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        self.built_for: object = None
        self.shortcuts: dict[tuple[str, str], list[Shortcut | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the innermost middleware."""
        shortcut = self.find(scope) if scope["type"] == "http" and not self.service.dependency_overrides else None
        if shortcut is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await perform(shortcut.route, shortcut.handle, request)
        except Exception as failure:
            response = await self.answer(failure, request)
        await response(scope, receive, send)

    def find(self, scope: Scope) -> Shortcut | None:
        """The shortcut to this route, which is noted in the scope as the router would."""
        if self.built_for is not self.service.runtime.access:
            self.build()
        path = get_route_path(scope)
        first = path[1:].partition("/")[0]
        for shortcut in self.shortcuts.get((scope["method"], first), ()):
            if shortcut is None:
                return None  # a route of another kind comes first
            if match := shortcut.path_regex.match(path):
                values = match.groupdict().items()
                scope["path_params"] = {name: shortcut.convertors[name].convert(text) for name, text in values}
                scope["route"], scope["endpoint"] = shortcut.route, shortcut.route.endpoint
                return shortcut
        return None

    def build(self) -> None:
        """Find the operations that have a shortcut, in the order of the routes; where one has none, None stands."""
        shortcuts: dict[tuple[str, str], list[Shortcut | None]] = defaultdict(list)
        for context in iter_route_contexts(self.service.routes):
            first = LITERAL.match(context.path or "")
            shortcut = shortcut_to(context)
            for method in context.methods or {"GET"}:
                if first:
                    shortcuts[method, first[1]].append(shortcut)
        self.shortcuts, self.built_for = dict(shortcuts), self.service.runtime.access

    async def answer(self, failure: Exception, request: Request) -> Response:
        """The answer of the application's handler for this exception, as the layers of the router would find it."""
        handlers: dict[Any, Any] = dict(self.service.exception_handlers)
        kinds: list[Any] = [kind for kind in type(failure).__mro__ if kind is not Exception]
        if isinstance(failure, HTTPException):
            kinds.insert(0, failure.status_code)
        handler = next((handlers[kind] for kind in kinds if kind in handlers), None)
        if handler is None:
            raise failure
        if is_async_callable(handler):
            response: Response = await handler(request, failure)
            return response
        return await run_in_threadpool(handler, request, failure)


class OuterDispatch(Dispatch):
    """The same past all of FastAPI's layers, while there is no middleware or telemetry between them."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        providers = ("tracer_provider", "meter_provider", "logger_provider")
        self.has_providers = any(service._telemetry[name] for name in providers)  # type: ignore[literal-required]

    def find(self, scope: Scope) -> Shortcut | None:
        service = self.service
        is_plain = len(service.user_middleware) == 1 and not service.root_path and not service.debug
        # whether somebody has set a provider, without FastAPI's own look at the environment
        has_telemetry = trace._TRACER_PROVIDER or METRICS._METER_PROVIDER or LOGS._LOGGER_PROVIDER
        if not is_plain or has_telemetry or self.has_providers:
            return None
        scope["app"] = service
        return super().find(scope)

    async def answer(self, failure: Exception, request: Request) -> Response:
        """A failure without a handler is left to FastAPI's outermost layer, which tells it to the server."""
        try:
            return await super().answer(failure, request)
        except Exception as unforeseen:
            return Unforeseen(self.service, unforeseen)


class Unforeseen(Response):
    """The answer to a failure that no handler expects, after which it is raised for the log."""

    def __init__(self, service: Service, failure: Exception) -> None:
        super().__init__()
        self.service, self.failure = service, failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def fail(*_: object) -> None:
            raise self.failure

        handlers = self.service.exception_handlers
        handler: Any = handlers.get(500) or handlers.get(Exception)
        await ServerErrorMiddleware(fail, handler)(scope, receive, send)


def shortcut_to(context: RouteContext) -> Shortcut | None:
    route = context.original_route
    is_known = isinstance(route, Operation) and type(route).get_route_handler is Operation.get_route_handler
    if not is_known or not isinstance(route, APIRoute) or not Rendering.applies(context):
        return None
    assert isinstance(route, Operation)
    arguments = Arguments.of(context)
    return None if arguments is None else Shortcut(context, route, arguments)
