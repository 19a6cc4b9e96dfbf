"""Callers: the dependency `Caller`, and the check that a caller may use a route."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from kit.auth.permissions import Who
from kit.http.principals import Principal
from kit.runtime import runtime_of

ANY_METHOD = "*"
"""In `Runtime.permissions`: every method of a route, or a WebSocket."""


async def get_caller(connection: HTTPConnection) -> Principal | None:
    """Return the user of the request; None without a token.

    Raises a 401 for an invalid token, except on public routes.
    """
    return await runtime_of(connection).authenticator.caller(connection, route_permission(connection))


Caller = Annotated[Principal | None, Depends(get_caller)]
"""The user of the request, with `id` and `roles`; None without a token."""


async def check_permission(connection: HTTPConnection, caller: Caller) -> None:
    """Refuse callers who may not use the route (401, 403). The whole application depends on it."""
    runtime_of(connection).authenticator.authorize(caller, route_permission(connection))


def route_permission(connection: HTTPConnection) -> Who:
    """Return the permission of the route of this request; superusers for an unknown route."""
    who = known_permission(connection)
    if who is None:  # the route has replaced an equal one since the routes were checked
        runtime_of(connection).check_routes()
        who = known_permission(connection)
    return who or Who.SUPERUSERS


def known_permission(connection: HTTPConnection) -> Who | None:
    """Return the permission of the route, if it was checked."""
    route, permissions = id(connection.scope.get("route")), runtime_of(connection).permissions
    return permissions.get((route, connection.scope.get("method", ANY_METHOD))) or permissions.get((route, ANY_METHOD))
