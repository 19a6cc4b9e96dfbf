"""Callers: the dependency `Caller`, and the check that a caller may use a route."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from kit.auth.permissions import Who
from kit.http.principals import Principal
from kit.runtime import runtime_of

ANY_METHOD = "*"
"""Stands for every method of a route in `Runtime.access`, and for WebSockets."""


async def get_caller(connection: HTTPConnection) -> Principal | None:
    """The user who calls; None for nobody. A 401 for a token that is not valid, but on a public route it is ignored."""
    return await runtime_of(connection).authenticator.caller(connection, who_may_use(connection))


Caller = Annotated[Principal | None, Depends(get_caller)]
"""The user who calls, with `id` and `roles`; None for nobody."""


async def check_permission(connection: HTTPConnection, caller: Caller) -> None:
    """A dependency of the whole application: refuses callers who may not use the route (401, 403)."""
    runtime_of(connection).authenticator.admit(caller, who_may_use(connection))


def who_may_use(connection: HTTPConnection) -> Who:
    """Who may use the route of this request; superusers, if nothing is known of it."""
    who = known_access(connection)
    if who is None:  # the route has taken the place of an equal one
        runtime_of(connection).check_routes()
        who = known_access(connection)
    return who or Who.SUPERUSERS


def known_access(connection: HTTPConnection) -> Who | None:
    route, access = id(connection.scope.get("route")), runtime_of(connection).access
    return access.get((route, connection.scope.get("method", ANY_METHOD))) or access.get((route, ANY_METHOD))
