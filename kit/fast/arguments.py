"""Argument resolution: computes the arguments of a handler by a list of functions that is built once per route.

FastAPI would solve the dependency tree again for each request, which takes longer than a read from the database. It
still does so for handlers with parameters or dependencies that are not supported here. Parameters are validated by
FastAPI's own fields.
"""

import inspect
from typing import Any, Self, cast

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import EndpointContext, RequestValidationError
from fastapi.params import Form
from fastapi.routing import RouteContext, _extract_endpoint_context
from pydantic_core import PydanticUndefined
from starlette.requests import Request

from kit.operations.arguments import RESOLVERS, NamedResolver, resolvers_of
from kit.operations.dependants import is_list_query
from kit.operations.handlers import is_generator
from kit.operations.route import Operation
from kit.operations.unit_of_work import Unit


class Arguments:
    """Resolves the arguments of one handler."""

    def __init__(self, route: RouteContext, dependencies: list[NamedResolver]) -> None:
        dependant: Dependant = route.dependant
        self.path = [(field.name, field.alias, field) for field in dependant.path_params]
        self.query = dependant.query_params
        self.body, self.is_embedded = dependant.body_params, route._embed_body_fields
        self.dependencies = dependencies
        self.handler, self.route_path = cast("Operation", route.original_route).handler, dependant.path

    @classmethod
    def of(cls, route: RouteContext) -> Self | None:
        """Return the argument resolution of a route; None if its handler needs FastAPI's."""
        dependant: Dependant = route.dependant
        special = (
            dependant.request_param_name,
            dependant.http_connection_param_name,
            dependant.websocket_param_name,
            dependant.response_param_name,
            dependant.background_tasks_param_name,
            dependant.security_scopes_param_name,
        )
        is_form = any(isinstance(field.field_info, Form) for field in dependant.body_params)
        is_in_path = all(
            field.alias in route.param_convertors and field.field_info.validation_alias in (None, field.alias)
            for field in dependant.path_params
        )
        if any(special) or is_form or not is_in_path or dependant.header_params or dependant.cookie_params:
            return None
        resolvers = resolvers_of(dependant, resolver_of)
        return None if resolvers is None else cls(route, resolvers)

    async def take(self, unit: Unit) -> dict[str, Any]:
        """Return the arguments of a request by name. Raises a RequestValidationError with the errors of all values."""
        request = unit.request
        body = await request.json() if self.body and await request.body() else PydanticUndefined
        values: dict[str, Any] = {}
        for name, resolve, is_awaitable in self.dependencies:
            value = resolve(unit)
            values[name] = await value if is_awaitable else value
        errors: list[Any] = []
        texts = request.scope["path_params"]
        for name, alias, field in self.path:
            values[name], wrong = field.validate(texts[alias], loc=("path", alias))
            errors += wrong
        if self.query:
            taken, wrong = request_params_to_args(self.query, request.query_params)
            values |= taken
            errors += wrong
        if self.body:
            taken, wrong = await self.of_body(body)
            values |= taken
            errors += wrong
        if errors:
            raise self.failure(request, errors, None if body is PydanticUndefined else body)
        return values

    def failure(self, request: Request, errors: list[Any], body: Any) -> RequestValidationError:
        """Return the exception as FastAPI makes it, with the body, and with the place of the handler for the log."""
        path = f"{request.method} {request.scope.get('root_path', '').rstrip('/')}{self.route_path}"
        place = EndpointContext(**_extract_endpoint_context(self.handler), path=path)
        return RequestValidationError(errors, body=body, endpoint_ctx=place)

    async def of_body(self, body: Any) -> tuple[dict[str, Any], list[Any]]:
        """Return the arguments from the parsed body, and the validation errors. `PydanticUndefined` means no body."""
        if self.is_embedded or body is PydanticUndefined:
            return await request_body_to_args(self.body, body, self.is_embedded)
        field = self.body[0]
        value, wrong = field.validate(body, loc=("body",))
        return {field.name: value}, wrong


def resolver_of(part: Dependant) -> NamedResolver | None:
    """Return the resolver of a dependency; None if the dependency is not supported."""
    call: Any = part.call
    if not part.name or part.concurrency is not None:
        return None
    if call in RESOLVERS:
        return part.name, RESOLVERS[call], False
    if not (is_list_query(call) or is_quick(call)) or not takes_request_only(part):
        return None
    parameter: Any = part.request_param_name

    def resolve(unit: Unit) -> Any:
        return call(**{parameter: unit.request})

    return part.name, resolve, inspect.iscoroutinefunction(call)


def is_quick(call: Any) -> bool:
    """Return whether a dependency needs no thread, and has no exit code."""
    return inspect.iscoroutinefunction(call) and not is_generator(call)


def takes_request_only(part: Dependant) -> bool:
    call: Any = part.call
    return list(inspect.signature(call).parameters) == [part.request_param_name]
