"""Handlers: which kind of function one is, told as FastAPI does it: behind `functools.partial` and decorators."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

Handler = Callable[..., Any]


def is_generator(handler: Handler) -> bool:
    """Whether a handler yields its answer."""
    return any(inspect.isgeneratorfunction(part) or inspect.isasyncgenfunction(part) for part in _forms(handler))


def is_coroutine(handler: Handler) -> bool:
    return any(inspect.iscoroutinefunction(part) for part in _forms(handler))


def _forms(handler: Handler) -> list[Any]:
    """The handler, the function that it wraps, and their `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    forms = [handler, inspect.unwrap(handler)]
    return forms if inspect.isroutine(forms[1]) else [*forms, *(getattr(form, "__call__", None) for form in forms)]  # noqa: B004


async def call(handler: Handler, *values: Any, **arguments: Any) -> Any:
    """The result of a handler; one that is not async runs in a thread."""
    if is_coroutine(handler):
        return await handler(*values, **arguments)
    return await run_in_threadpool(handler, *values, **arguments)
