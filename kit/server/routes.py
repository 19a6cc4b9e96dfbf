"""Routes: an `Entry` for each method of a route, and a `Snapshot` of all routes to detect changes."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute

from kit.operations.callers import ANY_METHOD
from kit.operations.route import Operation
from kit.server.guards import Guard

ROUTES = attrgetter("routes")


class Snapshot:
    """The routes of a router and its included routers at one moment.

    It references them, so that no later route can have the same `id()`.
    """

    def __init__(self, router: APIRouter) -> None:
        self.routers = list(routers_in(router, set()))
        self.lists = [list(router.routes) for router in self.routers]

    @property
    def routes(self) -> Iterator[BaseRoute]:
        return chain.from_iterable(self.lists)

    def is_current(self) -> bool:
        """Return whether the routes are still the same objects. The check before each request uses the faster `==`."""
        return [list(map(id, router.routes)) for router in self.routers] == [list(map(id, part)) for part in self.lists]


def routers_in(router: APIRouter, seen: set[int]) -> Iterator[APIRouter]:
    """Yield a router and, recursively, its included routers, except those whose `id()` is in `seen`."""
    if id(router) not in seen:
        seen.add(id(router))
        yield router
        for included in [getattr(route, "original_router", None) for route in router.routes]:
            if isinstance(included, APIRouter):
                yield from routers_in(included, seen)


@dataclass(frozen=True)
class Entry:
    """A route with one of its methods."""

    context: RouteContext
    """The route as FastAPI serves it, with the options of the routers that include it."""
    method: str
    """The method, such as `GET`; `ANY`, `WEBSOCKET`, `MOUNT`, `HOST` or `ROUTE` for routes without methods."""

    @property
    def route(self) -> BaseRoute:
        """The route as it was declared."""
        return self.context.original_route

    @property
    def path(self) -> str:
        path = getattr(self.route, "host", None) if isinstance(self.route, Host) else self.context.path
        return repr(self.route) if path is None else path

    @property
    def name(self) -> str:
        """The name of the entry, such as `GET /invoices/{invoice_id}`, `MOUNT /assets`, `HOST admin.example.com`."""
        return f"{self.method} {self.path}"

    @property
    def handler(self) -> Any:
        """The function that a resource defines, or the mounted application."""
        if isinstance(self.route, Operation):
            return self.route.handler
        endpoint = getattr(self.route, "endpoint", None) or getattr(self.route, "app", self.route)
        return endpoint.endpoint if isinstance(endpoint, Guard) else endpoint

    @property
    def description(self) -> str:
        """The handler and the route, for error messages."""
        handler = inspect.unwrap(self.handler)
        module = getattr(handler, "__module__", type(handler).__module__)
        return f"{module}.{getattr(handler, '__qualname__', type(handler).__qualname__)} ({self.name})"

    @property
    def key(self) -> tuple[int, str]:
        """The key in `Runtime.permissions`. For a WebSocket it has the copy of the route that FastAPI serves."""
        route = self.served if isinstance(self.route, APIWebSocketRoute) else self.route
        return id(route), self.method if self.method in self.methods else ANY_METHOD

    @property
    def served(self) -> Any:
        """The route that FastAPI calls: the declared one, or its copy for an included router."""
        return self.context.matches.__self__

    @property
    def methods(self) -> set[str]:
        return self.context.methods or set()


def entries_of(routes: Sequence[BaseRoute]) -> Iterator[Entry]:
    """Yield an entry for each method of each route, without the HEAD of a GET."""
    for context in iter_route_contexts(routes):
        methods = set(context.methods or ()) or {kind_of(context.original_route)}
        for method in sorted(methods - {"HEAD"} if "GET" in methods else methods):
            yield Entry(context, method)


def kind_of(route: BaseRoute) -> str:
    """Return the word that stands for the method of a route without methods, such as `MOUNT`."""
    kinds = {Mount: "MOUNT", Host: "HOST", WebSocketRoute: "WEBSOCKET", Route: "ANY"}
    return next((word for kind, word in kinds.items() if isinstance(route, kind)), "ROUTE")
