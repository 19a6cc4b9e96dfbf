"""Failures of handlers: tells whether they are temporary, and finds the application's exception handlers for them."""

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
    """Return whether the request may succeed if it is run again at once, as after a conflict between transactions."""
    return isinstance(failure, FAILURES) and meaning_of(failure) == "again"


async def handled(request: Request, failure: Exception) -> Response | None:
    """Return the response of the application's exception handler for a failure; None if it has none.

    A database failure is replaced by its problem before.
    """
    meant = problem_of(failure) if isinstance(failure, FAILURES) else failure
    handler = None if meant is None else _handler_of(request, meant)
    if handler is None:
        return None
    if inspect.iscoroutinefunction(handler):
        response: Response = await handler(request, meant)
        return response
    return await run_in_threadpool(handler, request, meant)


def _handler_of(request: Request, failure: Exception) -> Callable[..., Any] | None:
    """Return the handler for the status of an HTTPException, or for the nearest base class except `Exception`."""
    handlers: dict[Any, Callable[..., Any]] = request.app.exception_handlers
    status = [failure.status_code] if isinstance(failure, HTTPException) else []
    kinds = [kind for kind in type(failure).__mro__ if kind not in (Exception, BaseException)]
    return next((handlers[kind] for kind in [*status, *kinds] if kind in handlers), None)
