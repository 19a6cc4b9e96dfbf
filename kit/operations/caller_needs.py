"""Caller needs: tells which plain routes respond without their principal, so that no user is looked up for them.

Such routes, like health checks and the documentation, respond at once while the database is down, also with a token.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi.dependencies.models import Dependant

from kit.operations.arguments import SERVED_BY_UNIT
from kit.operations.handlers import Handler

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__needs_no_caller__"


def needs_no_caller(handler: F) -> F:
    """Mark the handler of a plain route whose response does not depend on the principal."""
    setattr(handler, MARK, True)
    return handler


def needs_caller(handler: Handler, dependant: Dependant) -> bool:
    """Return whether the principal of a plain route is determined: without a mark, or if a dependency may need it."""
    others = [part for part in dependant.dependencies if part.call not in SERVED_BY_UNIT]
    return not getattr(handler, MARK, False) or bool(others)
