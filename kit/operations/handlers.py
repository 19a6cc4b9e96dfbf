"""Handlers: tells whether a handler is async or a generator, as FastAPI does, behind `partial` and decorators."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

Handler = Callable[..., Any]


def is_generator(handler: Handler) -> bool:
    """Return whether a handler is a generator function, which streams its response."""
    return any(inspect.isgeneratorfunction(part) or inspect.isasyncgenfunction(part) for part in _forms(handler))


def is_coroutine(handler: Handler) -> bool:
    return any(inspect.iscoroutinefunction(part) for part in _forms(handler))


def _forms(handler: Handler) -> list[Any]:
    """Return the handler, the function that it wraps, and their `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    forms = [handler, inspect.unwrap(handler)]
    return forms if inspect.isroutine(forms[1]) else [*forms, *(getattr(form, "__call__", None) for form in forms)]  # noqa: B004


def awaitable(handler: Handler) -> Callable[..., Awaitable[Any]]:
    """Return an async function that calls the handler, in a thread if it is not async."""
    return handler if is_coroutine(handler) else functools.partial(run_in_threadpool, handler)
