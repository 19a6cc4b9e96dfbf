"""Routes: their names, their permissions, and where they are declared."""

import inspect
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute

from kit.auth.permissions import Who
from kit.operations.arguments import direct_handle
from kit.operations.callers import ANY_METHOD
from kit.operations.dependencies import get_session
from kit.operations.route import Operation, dependencies_of, query_variant
from kit.operations.unit_of_work import Handle
from kit.server.guards import Guard

if TYPE_CHECKING:
    from kit.server.service import Service


ROUTES = attrgetter("routes")


class Snapshot:
    """The routes of a router and its included routers, at one moment.

    It keeps them alive, so that no other route can get the same `id()`.
    """

    def __init__(self, router: APIRouter) -> None:
        self.routers = list(routers_in(router, set()))
        self.lists = [list(router.routes) for router in self.routers]

    @property
    def routes(self) -> Iterator[BaseRoute]:
        return chain.from_iterable(self.lists)

    def is_current(self) -> bool:
        """Return whether the routes are the same objects. The check before each request uses `==`, which is cheaper."""
        return [list(map(id, router.routes)) for router in self.routers] == [list(map(id, part)) for part in self.lists]


def routers_in(router: APIRouter, seen: set[int]) -> Iterator[APIRouter]:
    """Yield the router and its included routers, recursively, each once."""
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
        """The name, as in `GET /invoices/{invoice_id}`, `MOUNT /assets`, `HOST admin.example.com`."""
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
        """The key in `Runtime.permissions`. FastAPI serves a WebSocket of an included router by a copy of its route."""
        route = self.served if isinstance(self.route, APIWebSocketRoute) else self.route
        return id(route), self.method if self.method in self.methods else ANY_METHOD

    @property
    def served(self) -> Any:
        """The route that FastAPI calls: the declared one, or its copy where its router was included."""
        return self.context.matches.__self__

    @property
    def methods(self) -> set[str]:
        return self.context.methods or set()


ContextsOfRoutes = dict[int, list[RouteContext]]
"""The contexts of each route by its `id()`: one for each place where its router is included."""


def entries_of(routes: Sequence[BaseRoute]) -> Iterator[Entry]:
    """Yield an entry for each method of each route, without the HEAD of a GET."""
    for context in iter_route_contexts(routes):
        methods = set(context.methods or ()) or {kind_of(context.original_route)}
        for method in sorted(methods - {"HEAD"} if "GET" in methods else methods):
            yield Entry(context, method)


def kind_of(route: BaseRoute) -> str:
    """Return the kind of a route without methods."""
    kinds = {Mount: "MOUNT", Host: "HOST", WebSocketRoute: "WEBSOCKET", Route: "ANY"}
    return next((word for kind, word in kinds.items() if isinstance(route, kind)), "ROUTE")


def permission_of(entry: Entry, public: Collection[str], closed: Collection[str]) -> Who:
    """Return the permission of a route: superusers, unless the route or `public` says otherwise."""
    if entry.name in closed:
        return Who.SUPERUSERS
    if entry.name in public:
        return Who.ANYONE
    return entry.route.permission_by_method[entry.method] if isinstance(entry.route, Operation) else Who.SUPERUSERS


FilteredList = tuple[tuple[type[Any], str], tuple[str, Collection[str], str]]


def filtered_lists(entries: Sequence[Entry]) -> Iterator[FilteredList]:
    """Return for `Runtime.filtered_lists` the first list of each entity that is filtered by a field."""
    for entry in reversed(entries):
        if isinstance(entry.route, Operation) and entry.method == "GET" and "{" not in entry.path:
            for query in query_variants_of(entry.context.dependant):
                terms = {sign + name for name in ("id", *query.sorts) for sign in ("", "-")}
                fields = [field for field, operator in query.conditions.values() if operator == ""]
                yield from (((query.model, field), (entry.path, terms, query.default_sort)) for field in fields)


def query_variants_of(dependant: Dependant) -> Iterator[Any]:
    """Yield the query variants among the dependencies of an operation."""
    for dependency in dependencies_of(dependant):
        if dependency.call is not None and query_variant(dependency) is dependency.call:
            yield dependency.call


def contexts_of_routes(entries: Iterable[Entry]) -> ContextsOfRoutes:
    """Return the contexts of all routes."""
    contexts: ContextsOfRoutes = defaultdict(list)
    for entry in entries:
        found = contexts[id(entry.route)]
        if not found or found[-1] is not entry.context:  # one entry for each method
            found.append(entry.context)
    return contexts


def writes_by_itself(entry: Entry) -> bool:
    """Return whether a route takes `Session` and has no unit of work."""
    if isinstance(entry.route, Operation) or not isinstance(entry.route, (APIRoute, APIWebSocketRoute)):
        return False
    return any(part.call is get_session for part in dependencies_of(entry.context.dependant))


def direct_handles(entries: Iterable[Entry], contexts: ContextsOfRoutes) -> dict[int, Handle]:
    """Return the functions that serve operations without FastAPI's dependencies, by the `id()` of the route."""
    operations = {id(entry.route): entry.route for entry in entries if isinstance(entry.route, Operation)}
    handles = {key: direct_handle(route, contexts[key]) for key, route in operations.items()}
    return {key: handle for key, handle in handles.items() if handle is not None}


def describe_routes(service: "Service") -> str:
    """Return a table of all routes, sorted by path: method, path, permission and source."""
    service.check_routes()
    rows = [
        (entry.method, entry.path, service.runtime.permissions[entry.key].name.lower(), source_of(entry.handler))
        for entry in entries_of(service.routes)
    ]
    rows += [
        ("FRONTEND", path, "anyone" if service.is_public(f"FRONTEND {path}") else "superusers", "-")
        for path in service.frontends.routers
    ]
    rows.sort(key=lambda row: (row[1], row[0]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def source_of(handler: Any) -> str:
    """Return the file and line of a function; the class of anything else."""
    handler = inspect.unwrap(handler)
    code = getattr(handler, "__code__", None)
    if code is None:
        kind = handler if isinstance(handler, type) else type(handler)
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
