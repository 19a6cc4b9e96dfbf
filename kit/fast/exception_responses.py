"""Responses to exceptions of operations with a shortcut, made by the application's exception handlers."""

from typing import Any

from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kit.server.service import Service


async def respond_to_exception(service: Service, failure: Exception, request: Request) -> Response:
    """Return the response of the application's handler for this exception, looked up as Starlette's router does.

    Raises the exception if it has no handler.
    """
    handlers: dict[Any, Any] = dict(service.exception_handlers)
    kinds: list[Any] = [kind for kind in type(failure).__mro__ if kind is not Exception]
    if isinstance(failure, HTTPException):
        kinds.insert(0, failure.status_code)
    handler = next((handlers[kind] for kind in kinds if kind in handlers), None)
    if handler is None:
        raise failure
    if is_async_callable(handler):
        response: Response = await handler(request, failure)
        return response
    return await run_in_threadpool(handler, request, failure)


class UnhandledFailure(Response):
    """The response to an exception without a handler: Starlette's ServerErrorMiddleware sends it.

    Then the exception is raised, so that the server logs it.
    """

    def __init__(self, service: Service, failure: Exception) -> None:
        super().__init__()
        self.service, self.failure = service, failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def fail(*_: object) -> None:
            raise self.failure

        handlers = self.service.exception_handlers
        handler: Any = handlers.get(500) or handlers.get(Exception)
        await ServerErrorMiddleware(fail, handler)(scope, receive, send)
