"""Frontends: serves the files of web applications, at paths that no route has."""

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.operations.callers import check_permission
from kit.server.files import Files


class Frontends:
    """The ASGI application for paths without a route: the frontend with the longest matching path, or `not_found`.

    With FastAPI's own frontends, a file would take precedence over a route with another trailing slash.
    """

    def __init__(self, application: FastAPI, not_found: ASGIApp) -> None:
        self.application, self.not_found = application, not_found
        self.routers: dict[str, APIRouter] = {}

    def add(self, path: str, *, is_public: bool, **options: Any) -> None:
        """Serve files under a path; only to superusers unless `is_public`. `options` are FastAPI's (`directory`, …)."""
        router = APIRouter(
            dependencies=[] if is_public else [Depends(check_permission)],
            dependency_overrides_provider=self.application,
            redirect_slashes=False,
        )
        router.frontend(path, **options)
        self.routers[normalized(path)] = router
        following = self.not_found
        for _, other in sorted(self.routers.items(), key=lambda item: item[0].count("/") if item[0] != "/" else 0):
            other.default = following
            following = other
        self.first = Files(following)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_served = self.routers and scope["type"] == "http"
        await (self.first if is_served else self.not_found)(scope, receive, send)


def normalized(path: str) -> str:
    return "/" + path.strip("/")
