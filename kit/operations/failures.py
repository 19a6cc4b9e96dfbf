"""Failures of handlers: whether they are temporary, and the response of the application's exception handlers."""

import inspect
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kit.database.error_responses import problem_of
from kit.database.errors import FAILURES, meaning_of


def is_temporary(failure: Exception) -> bool:
    """Return whether the same request may succeed if it is tried again now: a conflict with another transaction."""
    return isinstance(failure, FAILURES) and meaning_of(failure) == "again"


async def handled(request: Request, failure: Exception) -> Response | None:
    """Return the response of the application's exception handler; None if there is no handler for this exception."""
    meant = problem_of(failure) if isinstance(failure, FAILURES) else failure
    handler = None if meant is None else _handler_of(request, meant)
    if handler is None:
        return None
    if inspect.iscoroutinefunction(handler):
        response: Response = await handler(request, meant)
        return response
    return await run_in_threadpool(handler, request, meant)


def _handler_of(request: Request, failure: Exception) -> Callable[..., Any] | None:
    """Return the handler of the status of an HTTPException, or of the nearest class; not the one of all exceptions."""
    handlers: dict[Any, Callable[..., Any]] = request.app.exception_handlers
    status = [failure.status_code] if isinstance(failure, HTTPException) else []
    kinds = [kind for kind in type(failure).__mro__ if kind not in (Exception, BaseException)]
    return next((handlers[kind] for kind in [*status, *kinds] if kind in handlers), None)
