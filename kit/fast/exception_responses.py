"""Responses to exceptions of operations with a shortcut, made by the application's exception handlers."""

from typing import Any

from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kit.server.service import Service

OUTER = (500, Exception)
"""The keys of the handler for exceptions that have no other. Starlette's outermost layer calls it."""


class NotedSend:
    """The ASGI `send` of a response that may fail, such as a file. `has_begun`: its status was sent."""

    def __init__(self, send: Send) -> None:
        self.send, self.has_begun = send, False

    async def __call__(self, message: Message) -> None:
        self.has_begun = self.has_begun or message["type"] == "http.response.start"
        await self.send(message)


async def respond_to_exception(
    service: Service, failure: Exception, request: Request, *, has_begun: bool = False
) -> Response:
    """Return the response of the application's handler for this exception. Raises the exception if it has no handler.

    A handler may raise another exception that has a handler: Starlette catches exceptions around the route, and again
    around the router. `has_begun`: a response was sent in part, so that there can be no other.
    """
    try:
        return await _respond(service, failure, request, has_begun)
    except Exception as further:
        return await _respond(service, further, request, has_begun)


async def _respond(service: Service, failure: Exception, request: Request, has_begun: bool) -> Response:
    handler = _handler_of(service, failure)
    if handler is None:
        raise failure
    if has_begun:
        raise RuntimeError("Caught handled exception, but response already started.") from failure
    if is_async_callable(handler):
        response: Response = await handler(request, failure)
        return response
    return await run_in_threadpool(handler, request, failure)


def _handler_of(service: Service, failure: Exception) -> Any:
    """Return the application's handler for an exception, looked up as Starlette's router does; None without one."""
    handlers: dict[Any, Any] = {kind: each for kind, each in service.exception_handlers.items() if kind not in OUTER}
    kinds: list[Any] = list(type(failure).__mro__)
    if isinstance(failure, HTTPException):
        kinds.insert(0, failure.status_code)
    return next((handlers[kind] for kind in kinds if kind in handlers), None)


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
