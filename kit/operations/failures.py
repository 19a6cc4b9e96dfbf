"""Failures of handlers: tells whether they are temporary, and finds the application's exception handlers for them."""

import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from kit.database.error_responses import problem_of
from kit.database.errors import FAILURES, meaning_of
from kit.http.bodies import InvalidDocumentError
from kit.http.problems import Problem, describe, invalid
from kit.models.entities import RefusedBodyError, name_in_bodies

log = logging.getLogger("kit")
GENERAL = (Exception, BaseException, object)
"""The classes whose handlers are for unexpected exceptions only."""
NOT_JSON = "JSON decode error"
"""FastAPI's message for a body that is not JSON, which tells it from pydantic's errors."""


def is_temporary(failure: Exception) -> bool:
    """Return whether the request may succeed if it is run again at once, as after a conflict between transactions."""
    return isinstance(failure, FAILURES) and meaning_of(failure) == "again"


class DefaultHandler(partial[Any]):
    """An exception handler of the kit, called where the application has none for a class of exceptions."""


def own_handler(app: Any, failure: Exception) -> Callable[..., Any] | None:
    """Return the application's handler for the nearest class of an exception, except `Exception`; None without one."""
    handlers = app.exception_handlers
    found = (handlers.get(kind) for kind in type(failure).__mro__ if kind not in GENERAL)
    return next((each for each in found if each is not None and not isinstance(each, DefaultHandler)), None)


def exception_for_handlers(app: Any, failure: Exception) -> Exception:
    """Return the exception that the exception handlers of an application get for a failure of an operation.

    It is the exception that the kit has replaced by a problem, if the application has a handler for it: an error of the
    database, after the last attempt, or FastAPI's error for a body that is not JSON. Otherwise it is the failure.
    """
    if isinstance(failure, InvalidDocumentError):
        replaced: Exception | None = invalid_request(failure)
    else:
        replaced = getattr(failure, "origin", None)
    return failure if replaced is None or own_handler(app, replaced) is None else replaced


def invalid_request(failure: InvalidDocumentError) -> RequestValidationError:
    """Return the exception that FastAPI raises for a body that is not JSON."""
    details = {"loc": ("body", failure.pos), "input": {}, "ctx": {"error": failure.msg}}
    return RequestValidationError([{"type": "json_invalid", "msg": NOT_JSON, **details}], body=failure.doc)


async def handled_response(request: Request, failure: Exception) -> Response | None:
    """Return the response of the application's exception handler for a failure; None if it has none.

    A database failure is replaced by its problem before, unless the application has a handler for it.
    """
    exception: Exception | None = exception_for_handlers(request.app, failure)
    if isinstance(exception, FAILURES) and own_handler(request.app, exception) is None:
        exception = problem_of(exception)
    handler = None if exception is None else _handler_of(request, exception)
    return None if handler is None else await call_handler(handler, request, exception)


async def call_handler(handler: Callable[..., Any], connection: HTTPConnection, failure: Exception | None) -> Any:
    """Return the response of an exception handler, which is called in a thread if it is not async."""
    if inspect.iscoroutinefunction(handler):
        return await handler(connection, failure)
    return await run_in_threadpool(handler, connection, failure)


def refused_body(failure: ValidationError) -> Problem | None:
    """Return the 422 for a body with values that the table of its row refuses; None for other validation errors."""
    cause = failure.__cause__
    if not isinstance(cause, RefusedBodyError):
        return None
    log.warning("A bound is missing: %s", cause)
    errors = failure.errors(include_url=False, include_input=False)
    return invalid(describe({**error, "loc": location(cause.body, error["loc"])}) for error in errors)


def location(body: type[BaseModel], path: Sequence[int | str]) -> Sequence[int | str]:
    """Return the location of an error in a body, which may have an alias for the field."""
    first = [name_in_bodies(body, str(part)) for part in path[:1]]
    return ["body", *first, *path[1:]]


def explained_body(request: Request, failure: ValidationError) -> Exception:
    """Return the problem for a refused body, unless the application handles validation errors; else the failure."""
    return (None if own_handler(request.app, failure) else refused_body(failure)) or failure


def _handler_of(request: Request, failure: Exception) -> Callable[..., Any] | None:
    """Return the handler for the status of an HTTPException, or for the nearest base class except `Exception`."""
    handlers: dict[Any, Callable[..., Any]] = request.app.exception_handlers
    status = [failure.status_code] if isinstance(failure, HTTPException) else []
    kinds = [kind for kind in type(failure).__mro__ if kind not in GENERAL]
    return next((handlers[kind] for kind in [*status, *kinds] if kind in handlers), None)
