"""Unconverted paths: a path that has the form of a route, but that a convertor of its parameters refuses, is a 404."""

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.paths import ROOT_PATH
from kit.server.guards import Guard


class UnconvertedPath:
    """ASGI middleware around the router, which raises a 404 for a ValueError of a convertor.

    Starlette's convertors raise one for an integer with over 4,300 digits, own ones for a date such as `2026-13-45`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROOT_PATH] = scope.get("root_path", "")
        try:
            await self.app(scope, receive, send)
        except ValueError as failure:
            if not is_in_routing(scope):
                raise
            raise HTTPException(404) from failure


def is_in_routing(scope: Scope) -> bool:
    """Return whether no endpoint was found yet: by the router of the application, or by that of a mount."""
    endpoint = scope.get("endpoint")
    return endpoint is None or isinstance(endpoint.endpoint if isinstance(endpoint, Guard) else endpoint, Router)
