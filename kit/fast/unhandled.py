"""Responses to exceptions without a handler, sent by Starlette's outermost layer when dispatch goes past it."""

from typing import Any

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.server.service import Service


class UnhandledFailure(Response):
    """The response to an exception that no handler takes. The exception is raised afterwards, for the server's log."""

    def __init__(self, service: Service, failure: Exception) -> None:
        super().__init__()
        self.service, self.failure = service, failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def fail(*_: object) -> None:
            raise self.failure

        handlers = self.service.exception_handlers
        handler: Any = handlers.get(500) or handlers.get(Exception)
        await ServerErrorMiddleware(fail, handler)(scope, receive, send)
