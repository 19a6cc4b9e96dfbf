"""Traces: the places where a tracer learns of requests and statements, and where others learn of the tracer.

Without a tracer, `TRACERS` is empty, and a statement costs an empty loop.
"""

from collections.abc import Sequence
from typing import Any, Protocol

TRACE_ID = "kit.trace_id"
"""The key in the ASGI scope of the request's trace id, 32 hexadecimal digits. A tracer sets it."""
UNRECORDED = "kit.is_unrecorded"
"""The key in the ASGI scope of a request whose trace is not recorded, so that no layer has to make a span of it."""
Mark = Any
"""What a tracer knows a request by; None if its trace is not recorded."""


class Tracer(Protocol):
    """Records what requests do."""

    def mark(self) -> Mark:
        """Return the mark of the current request."""

    def share(self, marks: Sequence[Mark]) -> None:
        """Let the following statements of this task count for these requests, which share them."""

    def record(self, kind: str, statement: str, seconds: float, failure: BaseException | None) -> None:
        """Record a statement that has just ended."""


TRACERS: list[Tracer] = []
"""The tracers of this process: none or one."""


def mark() -> Mark:
    """Return the mark of the current request, for work that it may share with others."""
    return TRACERS[0].mark() if TRACERS else None


def share(marks: Sequence[Mark]) -> None:
    """Let the following statements of this task count for these requests."""
    for tracer in TRACERS:
        tracer.share(marks)
