"""Update handlers: handlers that read one row to change it, and await nothing else.

Such a row needs no session: it is locked, changed and stored by the driver (`single_update`). If such a handler, or its
response, uses the session for anything else after all, the request runs again with the ORM, and so do all later ones.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

CHANGING = frozenset({"PATCH", "POST", "PUT"})
READS = "get"
"""The method of a session that reads a row to change it."""
ASYNC = (ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)


class UpdateHandler:
    """Whether the handler of an operation changes one row, and uses its session for nothing else (`is_possible`)."""

    def __init__(self, methods: Collection[str], handler: Callable[..., Any]) -> None:
        self.is_possible = CHANGING.issuperset(methods) and awaits_only_get(handler)


def awaits_only_get(handler: Callable[..., Any]) -> bool:
    """Return whether the source of a handler has one `await`, of a method `get` of one of its parameters."""
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
