"""Which route is it: looked up by the method and the first part of the path, instead of trying every route in turn."""

import inspect
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from starlette._utils import get_route_path
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kit.operations.endpoint import Endpoint

LITERAL = re.compile(r"/([^/{]+)(?=/|$)")


class Dispatch:
    """Innermost: hands a request straight to its route, if that one can serve it alone; all others go on to the router.

    An exception is answered by the application's handler for it, as the router's layers would.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.routes: dict[tuple[str, str], list[Endpoint]] = defaultdict(list)
        for route in routes:
            if isinstance(route, Endpoint) and (first := LITERAL.match(route.path)):
                for method in route.methods or ():
                    self.routes[method, first[1]].append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (route := self.find(scope)):
            try:
                await route.app(scope, receive, send)
            except Exception as failure:
                await self.answer(failure, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def find(self, scope: Scope) -> Endpoint | None:
        path = get_route_path(scope)
        first = path[1:].partition("/")[0]
        for route in self.routes.get((scope["method"], first), ()):
            if match := route.path_regex.match(path):
                if not route.serves_alone:
                    return None
                convert = route.param_convertors
                scope["path_params"] = {name: convert[name].convert(text) for name, text in match.groupdict().items()}
                scope["route"], scope["endpoint"] = route, route.endpoint
                return route
        return None

    async def answer(self, failure: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        handlers: dict[Any, Any] = scope["app"].exception_handlers
        kinds = (getattr(failure, "status_code", None), *type(failure).__mro__)
        handler = next((handlers[kind] for kind in kinds if kind in handlers), None)
        if handler is None:
            raise failure
        answer = handler(Request(scope, receive), failure)
        response: Response = await answer if inspect.isawaitable(answer) else answer
        await response(scope, receive, send)
