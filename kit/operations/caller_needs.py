"""Caller needs: tells which plain routes respond without their principal, so that no user is looked up for them.

Such routes, like health checks and the documentation, respond at once while the database is down, also with a token.
"""

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant

from kit.http.principals import CURRENT_PRINCIPAL
from kit.operations.callers import check_permission, get_caller
from kit.operations.dependants import dependencies_of, is_of_the_kit
from kit.operations.dependencies import get_read_session, get_session
from kit.operations.handlers import Handler

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__needs_no_caller__"
ASKING = (get_caller, get_session, get_read_session)
"""The dependencies that need the principal. A session does so for restricted rows and private fields."""


def needs_no_caller(handler: F) -> F:
    """Mark the handler of a plain route that takes the request, but does not use the principal.

    A handler needs no mark if neither it nor a dependency takes the request, `Caller` or a session.
    """
    setattr(handler, MARK, True)
    return handler


def needs_caller(handler: Handler, dependant: Dependant) -> bool:
    """Return whether the response of a plain route may depend on its principal, as far as its code shows."""
    own = [part for part in dependant.dependencies if part.call is not check_permission]  # which takes `Caller` itself
    parts = [inner for part in own for inner in dependencies_of(part)]
    others = [part for part in parts if not is_of_the_kit(part)]
    if any(part.call in ASKING for part in parts) or any(map(_reads_principal, others)):
        return True
    is_marked = getattr(handler, MARK, False)
    return not is_marked and (_reads_principal(dependant) or any(map(_takes_request, (dependant, *others))))


def _takes_request(part: Dependant) -> bool:
    return bool(part.request_param_name or part.http_connection_param_name or part.websocket_param_name)


def _reads_principal(part: Dependant) -> bool:
    return _mentions(inspect.unwrap(part.call) if part.call else None, set())


def _mentions(function: Any, seen: set[int]) -> bool:
    """Return whether a function, or a function that it calls by its global name, reads `CURRENT_PRINCIPAL`."""
    if not isinstance(function, FunctionType) or id(function) in seen:
        return False
    seen.add(id(function))
    names = set(_names_in(function.__code__))
    used = [function.__globals__[name] for name in names & function.__globals__.keys()]
    used += [vars(value)[name] for value in used if inspect.ismodule(value) for name in names & vars(value).keys()]
    return any(value is CURRENT_PRINCIPAL or _mentions(value, seen) for value in used)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
