"""Dispatch: finds the operation of a request by method and first path segment, and calls it without FastAPI's layers.

Requests for other routes, and all requests while a dependency is overridden, are passed on to FastAPI's router.
Dispatch finds the same operation as FastAPI's router: routes of all kinds are tried in their order, and a trailing
slash is added or removed only if no route has the path.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi.routing import RouteContext, iter_route_contexts
from opentelemetry import _logs, metrics, trace
from starlette._utils import get_route_path
from starlette.convertors import StringConvertor
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.database.sessions import WriteSession
from kit.fast.arguments import Arguments
from kit.fast.bodies import ValidatedBodies
from kit.fast.exception_responses import NotedSend, UnhandledFailure, respond_to_exception
from kit.fast.rendering import RenderedResponse, Rendering
from kit.fast.replaced import OF_LAYERS, OF_ROUTES, Names, is_original, replaced
from kit.fast.update_handlers import UpdateHandler
from kit.fast.write_sessions import FastWriteSession
from kit.http.paths import other_slash
from kit.http.traces import UNRECORDED
from kit.models.entities import ROW_OF_BODY
from kit.operations.failures import exception_for_handlers
from kit.operations.route import Operation
from kit.operations.unit_of_work import UNIT, OperationRequest, perform
from kit.server.service import Service

log = logging.getLogger("kit")
METRICS: Any = metrics._internal
LOGS: Any = _logs._internal
LITERAL = re.compile(r"/([^/{]*)(?=/|$)")
"""The first segment of a path, if it contains no parameter."""
TELEMETRY = "fastapi.telemetry"
"""The key that FastAPI's telemetry sets in the ASGI scope of a request that it traces."""
CERTAIN = (Response.__call__, RenderedResponse.__call__)
"""The methods that send a complete response. Without background tasks, they raise no exception of their own."""
NOT_OVERRIDDEN = ("get_route_handler", "matches", "handle")
"""Methods of a route that a shortcut does not call. A route that overrides one of them has no shortcut."""


class Shortcut:
    """An operation that is served without FastAPI: its argument resolution, its handler and its rendering."""

    def __init__(self, context: RouteContext, route: Operation, arguments: Arguments) -> None:
        self.route, self.arguments, self.handler = route, arguments, route.handler
        self.rendering, self.update_handler = Rendering(context), UpdateHandler(context.methods or (), route.handler)
        self.path_regex, convertors = context.path_regex, context.param_convertors
        is_text = all(type(convertor) is StringConvertor for convertor in convertors.values())
        self.convertors = {} if is_text else convertors
        """Starlette's convertors of the path parameters; empty if all of them are strings."""

    async def handle(self, request: Request) -> Response:
        """Call the handler with its arguments, flush a write session, and return the response with the result."""
        unit = UNIT.get()
        assert unit is not None
        arguments = await self.arguments.take(unit)
        if isinstance(unit.session, FastWriteSession):
            unit.session.needs_orm = self.rendering.shows_related
            unit.session.update_handler = self.update_handler
        if self.arguments.body:  # lets `Entity.model_validate` take a shortcut
            token = ROW_OF_BODY.set(ValidatedBodies(arguments.values()).row_of)
            try:
                result = await self.handler(**arguments)
            finally:
                ROW_OF_BODY.reset(token)
        else:
            result = await self.handler(**arguments)
        if isinstance(unit.session, WriteSession):
            await unit.flush()
        return await self.rendering.render(unit, result)


Step = Shortcut | RouteContext
"""An operation with a shortcut, or a route of FastAPI whose method `matches` is called."""


class Dispatch:
    """An ASGI middleware that serves the operations with a shortcut, and passes all other requests on to `app`."""

    skipped: ClassVar[Names] = OF_ROUTES
    """The functions of FastAPI and Starlette that are not called for a request with a shortcut."""
    reported: ClassVar[Names] = OF_ROUTES
    """The functions that are named in the log if they are replaced. No function is named by both dispatches."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        self.is_in_place = self.can_replace(app)
        """Whether requests with a shortcut do not skip middleware of the application."""
        self.built_for: object = None
        self.steps: dict[tuple[str, str], list[Step]] = {}
        """The routes by method and first path segment, in the order of declaration."""
        self.any_method: dict[str, list[Step]] = {}
        """The routes by first path segment, for all methods."""
        self.has_low_priority_routes = False

    def can_replace(self, app: ASGIApp) -> bool:
        """Return whether `app` has no layers but Starlette's handlers of exceptions and the router."""
        return type(app) is ExceptionMiddleware

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or pass it on.

        A request that FastAPI's telemetry traces is passed on, because its spans are made by the layers of FastAPI.
        """
        is_plain = scope["type"] == "http" and not self.service.dependency_overrides and TELEMETRY not in scope
        try:
            shortcut = self.find(scope) if is_plain else None
        except ValueError:  # of a convertor of path parameters
            shortcut = None
        if shortcut is None:
            await self.app(scope, receive, send)
            return
        request, noted = OperationRequest(scope, receive, send), None
        try:
            response = await perform(shortcut.route, shortcut.handle, request)
            if type(response).__call__ not in CERTAIN or response.background is not None:
                noted = NotedSend(send)
                await response(scope, receive, noted)
                return
        except Exception as failure:
            has_begun = noted is not None and noted.has_begun
            original = exception_for_handlers(self.service, failure)
            response = await self.respond_to_exception(original, request, has_begun=has_begun)
        await response(scope, receive, send)

    def find(self, scope: Scope) -> Shortcut | None:
        """Return the shortcut for a request; None if FastAPI has to serve it.

        Sets `path_params`, `route` and `endpoint` in the scope, as the router does.
        """
        if self.built_for is not self.service.runtime.permissions:
            self.build()
        path = get_route_path(scope) if scope.get("root_path") else scope["path"]
        first = path[1:].partition("/")[0]
        steps = self.steps.get((scope["method"], first))
        if steps is None:
            return None
        found = first_match(steps, path, scope)
        if found is None and path != "/" and not self.is_path_of_route(first, path, scope):
            slashed = other_slash(path)
            found = first_match(steps, slashed, {**scope, "path": other_slash(scope["path"])})
        if found is None:
            return None
        shortcut, values = found
        if shortcut.convertors:
            values = {name: shortcut.convertors[name].convert(text) for name, text in values.items()}
        scope["path_params"] = {**scope.get("path_params", {}), **values}
        scope["route"], scope["endpoint"] = shortcut.route, shortcut.route.endpoint
        return shortcut

    def is_path_of_route(self, first: str, path: str, scope: Scope) -> bool:
        """Return whether a route for any method has this path. If so, no slash is added to it or removed."""
        if self.has_low_priority_routes:
            return True
        return any(
            step.path_regex.match(path) if isinstance(step, Shortcut) else step.matches(scope)[0] is not Match.NONE
            for step in self.any_method[first]
        )

    def build(self) -> None:
        """Build the tables of routes. If another library has replaced a function in `skipped`, they are empty."""
        permissions = self.service.runtime.permissions
        if replaced(self.skipped) or not self.is_in_place:
            self.steps = {}
        else:
            self.build_tables()
        if reasons := replaced(self.reported):
            log.warning("Requests are served without the shortcuts of dispatch, because %s.", ", ".join(reasons))
        self.built_for = permissions

    def build_tables(self) -> None:
        """Build the tables with the operations that have a shortcut, and the other routes among them."""
        contexts = [
            context
            for context in iter_route_contexts(self.service.routes)
            if not isinstance(context.original_route, WebSocketRoute)
        ]
        routes = [(first_segment(context), context, shortcut_to(context) or context) for context in contexts]
        self.steps = {
            (method, first): []
            for first, context, step in routes
            if isinstance(step, Shortcut) and first is not None
            for method in context.methods or ()
        }
        self.any_method = {
            first: [step for segment, _, step in routes if segment in (None, first)] for _, first in self.steps
        }
        for (method, first), found in self.steps.items():
            for segment, context, step in routes:
                if segment in (None, first) and method in (context.methods or (method,)):
                    found.append(step)
        self.has_low_priority_routes = any(self.service.router._iter_low_priority_routes())

    async def respond_to_exception(self, failure: Exception, request: Request, *, has_begun: bool) -> Response:
        """Return the response to an exception of an operation. Raises the exception if it has no handler."""
        return await respond_to_exception(self.service, failure, request, has_begun=has_begun)


class OuterDispatch(Dispatch):
    """Dispatch outside of all layers of FastAPI, for as long as the application has no middleware and no telemetry."""

    skipped: ClassVar[Names] = {**OF_LAYERS, **OF_ROUTES}
    reported: ClassVar[Names] = OF_LAYERS

    def __init__(self, app: ASGIApp, service: Service) -> None:
        super().__init__(app, service)
        providers = ("tracer_provider", "meter_provider", "logger_provider")
        self.has_providers = any(service._telemetry[name] for name in providers)  # type: ignore[literal-required]
        self.has_own_stack = not is_original(type(service).build_middleware_stack)

    def can_replace(self, app: ASGIApp) -> bool:
        """Return True: `is_outermost` checks the layers with each request, because middleware can be added."""
        return True

    def is_outermost(self) -> bool:
        """Return whether the application has no layers but those of FastAPI. Libraries may also replace its stack."""
        service = self.service
        if self.has_own_stack or "build_middleware_stack" in vars(service):
            return False
        if service.middleware_stack is not None and type(service.middleware_stack) is not ServerErrorMiddleware:
            return False
        return len(service.user_middleware) == 1 and not service.root_path and not service.debug

    def find(self, scope: Scope) -> Shortcut | None:
        # FastAPI's own check takes longer, because it reads environment variables too
        has_telemetry = METRICS._METER_PROVIDER or LOGS._LOGGER_PROVIDER
        has_telemetry = has_telemetry or (trace._TRACER_PROVIDER and UNRECORDED not in scope)
        if has_telemetry or self.has_providers or not self.is_outermost():
            return None
        scope["app"] = self.service
        return super().find(scope)

    async def respond_to_exception(self, failure: Exception, request: Request, *, has_begun: bool) -> Response:
        """Return the response to an exception. Without a handler, Starlette's outermost layer makes and logs it."""
        try:
            return await super().respond_to_exception(failure, request, has_begun=has_begun)
        except Exception as unhandled:
            if has_begun:
                raise
            return UnhandledFailure(self.service, unhandled)


def shortcut_to(context: RouteContext) -> Shortcut | None:
    """Return the shortcut for a route; None if FastAPI has to serve it."""
    route = context.original_route
    if not isinstance(route, Operation) or not Rendering.applies(context):
        return None
    if context.max_body_size is not None:  # set for the application, or where the router is included
        return None
    if any(getattr(type(route), name) is not getattr(Operation, name) for name in NOT_OVERRIDDEN):
        return None
    arguments = Arguments.of(context)
    return None if arguments is None else Shortcut(context, route, arguments)


def first_match(steps: Sequence[Step], path: str, scope: Scope) -> tuple[Shortcut, dict[str, str]] | None:
    """Return the first shortcut that matches a path, with its path parameters; None if another route is before it."""
    for step in steps:
        if isinstance(step, Shortcut):
            if match := step.path_regex.match(path):
                return step, match.groupdict()
        elif step.matches(scope)[0] is Match.FULL:
            return None
    return None


def first_segment(context: RouteContext) -> str | None:
    """Return the first segment of a route's path; None if it is a parameter, or if the route is a mount."""
    literal = LITERAL.match(context.path or "")
    return literal[1] if literal else None
