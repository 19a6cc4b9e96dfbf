"""What does a handler get: values from the path, the query and the body, and what is made of the request alone.

FastAPI declares them and its fields validate them, but it solves dependencies anew for every request, in more time than
a read takes. A handler that wants anything else is left to FastAPI.
"""

import inspect
from collections.abc import Callable
from typing import Any, Self

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute
from pydantic_core import PydanticUndefined

Call = Callable[..., Any]


class Arguments:
    """Those of one handler."""

    def __init__(self, route: APIRoute) -> None:
        self.path = [(field, ("path", field.alias)) for field in route.dependant.path_params]
        self.query = route.dependant.query_params
        self.body, self.is_embedded = route.dependant.body_params, route._embed_body_fields
        self.made = [made(part) for part in route.dependant.dependencies]

    @classmethod
    def of_route(cls, route: APIRoute) -> Self | None:
        """None if the handler wants more than this module knows of."""
        wants = route.dependant
        names = (wants.request_param_name, wants.http_connection_param_name, wants.response_param_name)
        others = (*names, wants.background_tasks_param_name, wants.security_scopes_param_name)
        is_form = any(isinstance(field.field_info, Form) for field in wants.body_params)
        has_others = any(others) or is_form or wants.header_params or wants.cookie_params
        return None if has_others or not all(map(is_made_of_request, wants.dependencies)) else cls(route)

    async def take(self, request: Request) -> dict[str, Any]:
        """The arguments by name; a RequestValidationError if some are not valid."""
        body = await request.json() if self.body and await request.body() else PydanticUndefined
        values: dict[str, Any] = {}
        for name, parameter, make, is_async in self.made:
            value = make(**{parameter: request})
            values[name] = await value if is_async else value
        errors: list[Any] = []
        for field, place in self.path:
            values[field.name], wrong = field.validate(request.path_params[field.alias], loc=place)
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
            raise RequestValidationError(errors)
        return values

    async def of_body(self, body: Any) -> tuple[dict[str, Any], list[Any]]:
        """A body that is one value is validated at once; FastAPI first finds out anew that it is one."""
        if self.is_embedded or body is PydanticUndefined:
            return await request_body_to_args(self.body, body, self.is_embedded)
        field = self.body[0]
        value, wrong = field.validate(body, loc=("body",))
        return {field.name: value}, wrong


def made(part: Dependant) -> tuple[str, str, Call, bool]:
    """The handler's name for it, its name for the request, what makes it, and whether that is awaited."""
    assert part.name
    assert part.request_param_name
    assert part.call
    return part.name, part.request_param_name, part.call, inspect.iscoroutinefunction(part.call)


def is_made_of_request(part: Dependant) -> bool:
    """Is it a dependency that wants the request and nothing else, and neither blocks nor has to be closed?"""
    wants = (*part.path_params, *part.query_params, *part.header_params, *part.cookie_params, *part.body_params)
    is_quick = any(is_kind(part.call) for is_kind in (inspect.iscoroutinefunction, inspect.isclass, inspect.ismethod))
    return bool(part.name and part.request_param_name and is_quick) and not (wants or part.dependencies)
