"""The service: a FastAPI application with the kit's middleware, permissions, checks and lifespan."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Match
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from kit import importing
from kit.auth.permissions import Who
from kit.http.encoding import patterns
from kit.openapi import docs
from kit.openapi.document import note_public, openapi
from kit.openapi.examples import Placeholder
from kit.openapi.operations import describe
from kit.operations.callers import check_permission
from kit.operations.commits import CommitBeforeEnd
from kit.operations.dependencies import commit_before_response, compose_text
from kit.operations.route import Operation
from kit.runtime import Runtime
from kit.server import health, security_txt
from kit.server.checks import refuse_options, startup_errors
from kit.server.exception_handlers import exception_handlers
from kit.server.frontends import Frontends
from kit.server.guards import PermissionCheck, guard
from kit.server.lifespan import LifespanState, run_lifespan
from kit.server.middleware import Layers, wrap_in_middleware
from kit.server.plain_routes import ComposedQuery, PlainRoute, read_as_operations
from kit.server.proxies import Proxies, is_under, normalized
from kit.server.request_log import Observer
from kit.server.route_tables import (
    ContextsOfRoutes,
    contexts_of_routes,
    direct_handles,
    entities_for_owners,
    filtered_lists,
    permission_of,
    routes_without_caller,
    routes_without_conditions,
    writes_by_itself,
)
from kit.server.routes import ROUTES, Entry, Snapshot, entries_of
from kit.server.shutdown import Shutdown
from kit.server.trailing_slashes import OtherSlash
from kit.server.unconverted_paths import UnconvertedPath


class Service(FastAPI):
    """An application whose operations share a runtime. `options` are those of `FastAPI`.

    `public` lists the routes that need no token, such as `"GET /docs"` or `"MOUNT /assets"`; other routes without a
    permission are for superusers. `closed` lists public routes that are restricted to superusers by a setting.
    `dependencies` are those of all operations, but not of the kit's own routes, such as health checks and docs.
    `on_start` is awaited before the `lifespan` begins. A task that it returns is cancelled at the end.
    `security_contacts` are published in `/.well-known/security.txt`. Raises a TypeError for unsupported options.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        routers: Sequence[APIRouter],
        public: Collection[str],
        closed: Collection[str] = (),
        layers: Layers | None = None,
        shutdown: Shutdown | None = None,
        security_contacts: Sequence[str] = (),
        on_start: Callable[[], Awaitable[asyncio.Task[None] | None]] | None = None,
        lifespan: Lifespan[Any] | None = None,
        dependencies: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        refuse_options(options)
        if "root_path" in options:
            options["root_path"] = normalized(options["root_path"])
        self.runtime, self.shutdown, self.on_start = runtime, shutdown or Shutdown(0, 20), on_start
        own = [security_txt.security_txt_router(security_contacts)] if security_contacts else []
        self.public = frozenset(public) | ({security_txt.NAME} if own else set())
        self.closed, self.own_lifespan = frozenset(closed), lifespan
        self.observers: list[Observer] = []
        """The functions that are called with each response that has ended."""
        self.companions: list[Callable[[], AbstractAsyncContextManager[object]]] = []
        """The context managers that are entered at start, between `on_start` and `lifespan`, and left at the end."""
        self.starters: list[Callable[[], object]] = [patterns]
        """The functions that are called once, after the first check of routes (at start, or before a request)."""
        self.describers: list[Callable[[dict[str, Any]], None]] = []
        """The functions that further complete the OpenAPI document when it is generated."""
        self.inner_layers: list[Callable[[ASGIApp], ASGIApp]] = []
        """The functions that wrap the application inside of the kit's middleware; the last one is the outermost."""
        self.outer_layers: list[Callable[[ASGIApp], ASGIApp]] = []
        """The functions that wrap the application outside of the kit's middleware; the last one is the outermost."""
        self.lifespan_state = LifespanState(options.get("title", "this service"))
        self.entries: list[Entry] = []
        self.contexts: ContextsOfRoutes = {}
        self.paths: dict[int, str | None] = {}
        """The path of each route with a single context, by the `id()` of the route."""
        self.checked: Snapshot | None = None
        """The routes that were checked; None if they have to be checked again."""
        self.checking = threading.Lock()
        """Serializes the checks of routes, because test clients may run in several threads."""
        self.documenting = threading.Lock()
        """Serializes the generation of the OpenAPI document, which requests do in threads."""
        self.documented: object = None
        """The permissions with which `openapi_schema` was generated. Another object means that routes have changed."""
        self.placeholders: tuple[object, list[Placeholder]] | None = None
        """The permissions with which a document was generated, and its placeholders for row ids."""
        handlers = exception_handlers(self.lifespan_state) | (options.pop("exception_handlers", None) or {})
        commits = Depends(commit_before_response, scope="function")
        self.own_dependencies = [Depends(check_permission), Depends(compose_text), commits]
        super().__init__(
            lifespan=run_lifespan,
            openapi_url=None,  # `docs` serves it
            redirect_slashes=False,
            dependencies=[*self.own_dependencies, *dependencies],
            exception_handlers=handlers,
            **options,
        )
        self.router.route_class = PlainRoute
        runtime.check_routes = self.check_new_routes
        self.permission_check = PermissionCheck(self)
        self.frontends = Frontends(self, self.router.default)
        self._add_routes(routers, [health.health_router(self.shutdown), docs.router, *own])
        self._wrap_routing()
        self.layers = layers or Layers()
        self.all_layers: ASGIApp = super().__call__
        self.wrap_in_middleware(self.all_layers)
        importing.end()

    def _add_routes(self, routers: Iterable[APIRouter], own: Iterable[APIRouter]) -> None:
        """Add the routes of the resources, and then those of the kit itself."""
        for router in routers:
            self.include_router(router)
        for router in own:
            self.include_for_operators(router)
        docs.mount_assets(self)

    def _wrap_routing(self) -> None:
        """Wrap the router in the middleware that needs no route, and let it try paths with the other slash."""
        self.router.default = OtherSlash(self.router, self.frontends)
        routing = UnconvertedPath(self.router.middleware_stack)
        self.router.middleware_stack = ComposedQuery(CommitBeforeEnd(routing))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = self.checked
        if checked is None or list(map(ROUTES, checked.routers)) != checked.lists:
            self.check_routes()  # a route was added, removed or replaced
        if not self.lifespan_state.is_reported and scope["type"] != "lifespan":
            self.lifespan_state.report()
        await self.surrounded(scope, receive, send)

    def wrap_in_middleware(self, inside: ASGIApp) -> None:
        """Wrap `inside` in the kit's middleware: FastAPI's own application, or one that calls it."""
        self.inside = inside
        for wrap in self.inner_layers:
            inside = wrap(inside)
        proxies = Proxies(self.root_path, self.layers.proxies, self.has_routes)
        known = self.runtime.authenticator.known_callers
        self.surrounded = wrap_in_middleware(
            inside, self.layers, self.shutdown, self.path_of, proxies, known, self.observers
        )
        for layer in self.outer_layers:
            self.surrounded = layer(self.surrounded)

    def surround(self, layer: Callable[[ASGIApp], ASGIApp]) -> None:
        """Add middleware outside of all other. `layer` gets an ASGI application, and returns one that calls it."""
        self.outer_layers.append(layer)
        self.surrounded = layer(self.surrounded)

    def add_layer(self, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
        """Add middleware inside of the kit's, and outside of all other. `wrap` is as in `surround`."""
        self.inner_layers.append(wrap)
        self.wrap_in_middleware(self.inside)

    def has_routes(self, prefix: str) -> bool:
        """Return whether this application has routes under a path prefix."""
        return any(is_under(entry.path, prefix) for entry in self.entries)

    def check_routes(self) -> None:
        """Check all routes, store their permissions, and call `starters`. Raises a ValueError with all errors."""
        with self.checking:
            self.checked = self.check(Snapshot(self.router))
            while self.starters:
                self.starters.pop(0)()

    def check_new_routes(self) -> None:
        """Call `check_routes` if a route was added, removed or replaced since the last check."""
        if self.checked is None or not self.checked.is_current():
            self.check_routes()

    def check(self, snapshot: Snapshot) -> Snapshot:
        """Guard, complete and check the routes, and store their tables in the runtime. Raises a ValueError."""
        for route in snapshot.routes:  # before FastAPI makes copies of those that are included
            guard(route)
            read_as_operations(route)
            if isinstance(route, APIRoute):
                describe(route)
        self.entries = list(entries_of(self.router.routes))
        for entry in self.entries:
            guard(entry.route, entry.served)
            if isinstance(entry.route, Operation):
                entry.route.inspect_dependencies(entry.context.dependant)
        frontends = [f"FRONTEND {path}" for path in self.frontends.routers]
        is_sqlite = self.runtime.database.url.get_backend_name() == "sqlite"
        errors = startup_errors(self.entries, self.public, self.closed, frontends, self.router, is_sqlite=is_sqlite)
        if errors:
            raise ValueError("\n".join(errors))
        self.runtime.filtered_lists = dict(filtered_lists(self.entries))
        for_owners, found = self.runtime.authenticator.for_owners, entities_for_owners(self.entries)
        for_owners.update(found)  # at no moment is one of them missing
        for_owners.intersection_update(found)
        self.runtime.permissions = {entry.key: permission_of(entry, self.public, self.closed) for entry in self.entries}
        self.note_public()
        self.contexts = contexts_of_routes(self.entries)
        self.paths = {key: found[0].path for key, found in self.contexts.items() if len(found) == 1}
        self.runtime.writing_routes = frozenset(entry.key[0] for entry in self.entries if writes_by_itself(entry))
        self.runtime.routes_without_caller = frozenset(
            routes_without_caller(
                self.entries, self.runtime.permissions, is_required=self.runtime.authenticator.is_required
            )
        )
        self.runtime.routes_without_conditions = frozenset(routes_without_conditions(self.entries))
        self.runtime.direct_handles = direct_handles(self.entries, self.contexts)
        return snapshot

    def path_of(self, scope: Scope) -> str | None:
        """Return the path of the route of a request, with the prefixes of its routers; None if no route matched."""
        route = scope.get("route")
        known = self.paths.get(id(route))
        if known is not None:
            return known
        contexts = self.contexts.get(id(route), [])
        if len(contexts) > 1:
            contexts = [context for context in contexts if context.matches(scope)[0] is Match.FULL]
        return contexts[0].path if contexts else getattr(route, "path_format", None)

    def is_public(self, name: str) -> bool:
        """Return whether the route with this name is listed in `public`, and not in `closed`."""
        return name in self.public and name not in self.closed

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. It is generated once, and again after a change of the routes."""
        self.check_new_routes()
        with self.documenting:
            if not self.openapi_schema or self.documented is not self.runtime.permissions:
                self.openapi_schema, placeholders = self.new_document()
                self.documented, self.placeholders = self.runtime.permissions, (self.runtime.permissions, placeholders)
            return self.openapi_schema

    def example_placeholders(self) -> list[Placeholder]:
        """Return the placeholders for row ids in the generated document, also if `openapi` is overridden."""
        self.check_new_routes()
        if self.placeholders is None or self.placeholders[0] is not self.runtime.permissions:
            self.placeholders = self.runtime.permissions, self.new_document()[1]
        return self.placeholders[1]

    def new_document(self) -> tuple[dict[str, Any], list[Placeholder]]:
        self.note_public()
        document, placeholders = openapi(self)
        for describe_further in self.describers:
            describe_further(document)
        return document, placeholders

    def note_public(self) -> None:
        """Store in the hints of each route which of its methods are public: it may be shared with another service."""
        public = [key for key, who in self.runtime.permissions.items() if who is Who.ANYONE]
        note_public([entry.context for entry in self.entries], public)

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Include a router as FastAPI does, after guarding its routes and completing their OpenAPI."""
        for context in iter_route_contexts(router.routes):
            if isinstance(context.original_route, APIRoute):
                describe(context.original_route)
            guard(context.original_route)
            read_as_operations(context.original_route)
        super().include_router(router, **options)
        self.checked = None

    def include_for_operators(self, router: APIRouter) -> None:
        """Include a router without the dependencies of the application, such as that of the health checks.

        FastAPI does not apply them to `/docs` and `/openapi.json` either.
        """
        dependencies = self.router.dependencies
        self.router.dependencies = list(self.own_dependencies)
        self.include_router(router)
        self.router.dependencies = dependencies

    def frontend(self, path: str, *, directory: str | os.PathLike[str], **options: Any) -> None:
        """Add a frontend as FastAPI does. It is for superusers unless `public` lists it, such as `"FRONTEND /"`."""
        is_public = self.is_public(f"FRONTEND {path}")
        self.frontends.add(path, is_public=is_public, directory=directory, **options)
        self.checked = None
