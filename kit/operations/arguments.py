"""Direct arguments: the kit's dependencies (session, caller, list query, precondition) without FastAPI's resolution.

FastAPI solves each dependency again for every request, which takes longer than a read from the database. An operation
whose only dependencies are the kit's is therefore served by an inner route, from which FastAPI knows only the other
parameters, such as the id in the path and the body. FastAPI solves all dependencies of other operations, and of every
operation while a dependency is overridden.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext
from starlette.requests import Request
from starlette.responses import Response

from kit.auth.authentication import PRINCIPAL
from kit.operations.callers import check_permission, get_caller
from kit.operations.dependants import is_list_query
from kit.operations.dependencies import commit_before_response, compose_text, get_read_session, get_session
from kit.operations.handlers import Handler, awaitable
from kit.operations.preconditions import precondition_of
from kit.operations.results import loaded_and_converted
from kit.operations.route import Operation
from kit.operations.unit_of_work import UNIT, Handle, Unit

Resolver = Callable[[Unit], Any]
NamedResolver = tuple[str, Resolver, bool]
"""The name of an argument of the handler, its resolver, and whether the resolver is async."""
ResolverOf = Callable[[Dependant], NamedResolver | None]
SERVED_BY_UNIT = (check_permission, compose_text, commit_before_response)
"""The application's dependencies without a value. The unit of work does the same, so they are skipped."""


session_of: Resolver = attrgetter("session")


def caller_of(unit: Unit) -> Any:
    return unit.request.scope[PRINCIPAL]


RESOLVERS: dict[Any, Resolver] = {get_session: session_of, get_read_session: session_of, get_caller: caller_of}
"""The dependencies whose value is an attribute of the unit of work, each with its getter."""


def resolver_of(part: Dependant) -> NamedResolver | None:
    """Return the resolver of a dependency; None if the dependency is not supported."""
    make: Any = part.call
    if not part.name or part.concurrency is not None:
        return None
    if make in RESOLVERS:
        return part.name, RESOLVERS[make], False
    if make is precondition_of or is_list_query(make):
        return part.name, lambda unit: make(unit.request), inspect.iscoroutinefunction(make)
    return None


def resolvers_of(dependant: Dependant, resolver_of: ResolverOf = resolver_of) -> list[NamedResolver] | None:
    """Return the resolvers of the dependencies that have a value; None if one of them is not supported.

    Also None if a dependency is used twice, because FastAPI calls it once.
    """
    parts = [part for part in dependant.dependencies if part.call not in SERVED_BY_UNIT]
    resolvers = [found for found in map(resolver_of, parts) if found is not None]
    is_supported = len(resolvers) == len(parts) == len({part.call for part in parts})
    return resolvers if is_supported else None


class DirectHandle:
    """Serves an operation by its inner route, after resolving the kit's dependencies from the unit of work."""

    def __init__(self, context: RouteContext, handler: Handler, resolvers: Sequence[NamedResolver]) -> None:
        self.context, self.handler, self.resolvers = context, handler, resolvers

    @functools.cached_property
    def inner(self) -> Handle:
        """The handler of the inner route. It is built at the first request, because building it takes milliseconds."""
        return inner_route(self.context, self.handler, {name for name, _, _ in self.resolvers}).get_route_handler()

    async def __call__(self, request: Request) -> Response:
        unit = UNIT.get()
        assert unit is not None
        if self.context.dependant.body_params and await request.body():
            await request.json()  # a body that is not JSON is refused before the dependencies, as by FastAPI
        for name, resolve, is_awaitable in self.resolvers:
            value = resolve(unit)
            unit.arguments[name] = await value if is_awaitable else value
        return await self.inner(request)


def direct_handle(route: Operation, contexts: Sequence[RouteContext]) -> DirectHandle | None:
    """Return the function that serves an operation by its inner route; None if FastAPI has to solve its dependencies.

    `contexts` has one context for each inclusion of the router. If there are several, FastAPI has to choose one for
    each request.
    """
    context, *others = contexts
    if others or route.is_generator or route.takes_form:
        return None
    resolvers = resolvers_of(context.dependant)
    return None if resolvers is None else DirectHandle(context, route.handler, resolvers)


def inner_route(context: RouteContext, handler: Handler, names: set[str]) -> APIRoute:
    """Return a route for the same operation without the parameters `names`, which are in `Unit.arguments`."""
    call = awaitable(handler)
    signature = inspect.signature(handler)

    @functools.wraps(handler)
    async def endpoint(**arguments: Any) -> Any:
        unit = UNIT.get()
        assert unit is not None
        result = await call(**arguments, **unit.arguments)
        await unit.flush()
        return await loaded_and_converted(unit, result)

    left = [parameter for name, parameter in signature.parameters.items() if name not in names]
    endpoint.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
    return APIRoute(
        context.path or "",
        endpoint,
        response_model=context.response_model,
        status_code=context.status_code,
        methods=context.methods,
        response_model_include=context.response_model_include,
        response_model_exclude=context.response_model_exclude,
        response_model_by_alias=context.response_model_by_alias,
        response_model_exclude_unset=context.response_model_exclude_unset,
        response_model_exclude_defaults=context.response_model_exclude_defaults,
        response_model_exclude_none=context.response_model_exclude_none,
        response_class=context.response_class,
        strict_content_type=context.strict_content_type,
    )
