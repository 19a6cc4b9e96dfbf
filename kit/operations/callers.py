"""Callers: the dependency `Caller`, and the check of the permission to use a route."""

import asyncio
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from kit.auth.permissions import Who
from kit.http.principals import UNDETERMINED, Principal
from kit.http.problems import deadline_exceeded
from kit.runtime import runtime_of

ANY_METHOD = "*"
"""Stands in `Runtime.permissions` for every method of a route, and for a WebSocket."""


async def get_caller(connection: HTTPConnection) -> Principal | None:
    """Return the principal of the request; None without a token. Raises a 401 for an invalid token.

    On a route that needs no token, an invalid one counts as none. If nothing on the route needs the principal, returns
    `UNDETERMINED` for a request with credentials. Raises a 504 if the user is not found before the deadline.
    """
    runtime, who = runtime_of(connection), route_permission(connection)
    if id(connection.scope.get("route")) in runtime.routes_without_caller:
        return UNDETERMINED if "authorization" in connection.headers else None
    try:
        async with asyncio.timeout(runtime.request_timeout):
            return await runtime.authenticator.caller(connection, who)
    except TimeoutError as failure:
        raise deadline_exceeded() from failure


Caller = Annotated[Principal | None, Depends(get_caller)]
"""The dependency with the principal of the request, which has `id` and `roles`; None without a token."""


async def check_permission(connection: HTTPConnection, caller: Caller) -> None:
    """Raise a 401 or 403 for a caller without the permission for the route. A dependency of the whole application."""
    runtime_of(connection).authenticator.authorize(caller, route_permission(connection))


def route_permission(connection: HTTPConnection) -> Who:
    """Return who may use the route of the request; superusers for a route that was not checked."""
    who = known_permission(connection)
    if who is None:  # the route has replaced an equal one since the routes were checked
        runtime_of(connection).check_routes()
        who = known_permission(connection)
    return who or Who.SUPERUSERS


def known_permission(connection: HTTPConnection) -> Who | None:
    """Return who may use the route of the request; None if the route was not checked."""
    route, permissions = id(connection.scope.get("route")), runtime_of(connection).permissions
    return permissions.get((route, connection.scope.get("method", ANY_METHOD))) or permissions.get((route, ANY_METHOD))
