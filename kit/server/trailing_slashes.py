"""Trailing slashes: routes a path that no route has again, with its trailing slash added or removed."""

from starlette.types import ASGIApp, Receive, Scope, Send

from kit.http.paths import ORIGINAL_PATH, other_slash, path_in_application


class OtherSlash:
    """The ASGI application that the router calls if no route matches. It calls the router again, with the other path.

    A redirect, as FastAPI's, would lose the body.
    """

    def __init__(self, router: ASGIApp, not_found: ASGIApp) -> None:
        self.router, self.not_found = router, not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] != "http" or path_in_application(scope) == "/" or ORIGINAL_PATH in scope:
            scope["path"] = scope.pop(ORIGINAL_PATH, path)
            await self.not_found(scope, receive, send)
            return
        scope[ORIGINAL_PATH] = path
        scope["path"] = other_slash(path)
        await self.router(scope, receive, send)
