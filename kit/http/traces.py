"""Traces: the interface between a tracer and the code whose requests and statements it records.

Without a tracer, `TRACERS` is empty, and a statement costs an empty loop.
"""

from collections.abc import Sequence
from typing import Any, Protocol

TRACE_ID = "kit.trace_id"
"""The key in the ASGI scope of the request's trace id, 32 hexadecimal digits. A tracer sets it."""
UNRECORDED = "kit.is_unrecorded"
"""The key in the ASGI scope of a request whose trace is not recorded, so that no layer has to make a span of it."""
Mark = Any
"""A tracer's reference to a request; None if the trace of the request is not recorded."""


class Tracer(Protocol):
    """Records what requests do."""

    def mark(self) -> Mark:
        """Return the mark of the current request."""

    def share(self, marks: Sequence[Mark]) -> None:
        """Record the following statements of this task for these requests, which share them."""

    def record(self, kind: str, statement: str, seconds: float, failure: BaseException | None) -> None:
        """Record a statement that has just ended."""


TRACERS: list[Tracer] = []
"""The tracers of this process: none or one."""


def mark() -> Mark:
    """Return the mark of the current request, for statements that it may share with other requests."""
    return TRACERS[0].mark() if TRACERS else None


def share(marks: Sequence[Mark]) -> None:
    """Record the following statements of this task for these requests."""
    for tracer in TRACERS:
        tracer.share(marks)
