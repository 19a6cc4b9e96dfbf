"""Update handlers: recognises handlers that read one row by `get`, change it, and await nothing else.

The driver locks and stores such a row (`single_update`). If the handler or its response nevertheless uses the session
for anything else, the request runs again by the ORM, as do all later requests to the operation.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property
from typing import Any

CHANGING = frozenset({"PATCH", "POST", "PUT"})
READS = "get"
"""The method of a session that reads a row to change it."""
ASYNC = (ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)


class UpdateHandler:
    """The result of the recognition of a handler."""

    def __init__(self, methods: Collection[str], handler: Callable[..., Any]) -> None:
        self.methods, self.handler = methods, handler

    @cached_property
    def is_possible(self) -> bool:
        """Whether the handler may be an update handler, by its source. Set to False if a request shows otherwise.

        The source is parsed at the first request, because that takes milliseconds.
        """
        return CHANGING.issuperset(self.methods) and awaits_only_get(self.handler)


def awaits_only_get(handler: Callable[..., Any]) -> bool:
    """Return whether the source of a handler has a single `await`, of the method `get` of one of its parameters."""
    if not inspect.isfunction(handler) or handler.__closure__ or hasattr(handler, "__wrapped__"):
        return False
    tree = None
    with suppress(OSError, SyntaxError):  # no source: made by `exec`, or in an archive
        tree = ast.parse(textwrap.dedent(inspect.getsource(handler)))
    if tree is None or any(isinstance(node, (*ASYNC, ast.Lambda)) for node in ast.walk(tree)):
        return False
    awaited = [node.value for node in ast.walk(tree) if isinstance(node, ast.Await)]
    return len(awaited) == 1 and _is_get(awaited[0], handler)


def _is_get(awaited: ast.expr, handler: Callable[..., Any]) -> bool:
    method = awaited.func if isinstance(awaited, ast.Call) else None
    owner = method.value if isinstance(method, ast.Attribute) and method.attr == READS else None
    return isinstance(owner, ast.Name) and owner.id in inspect.signature(handler).parameters
