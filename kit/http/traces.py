"""Traces: the interface by which a tracer such as `kit.tracing` is told of requests and statements.

Without a tracer `TRACERS` is empty, and nothing is recorded.
"""

from collections.abc import Sequence
from typing import Any, Protocol

TRACE_ID = "kit.trace_id"
"""The key in the ASGI scope of the request's trace id, 32 hexadecimal digits. A tracer sets it."""
UNRECORDED = "kit.is_unrecorded"
"""The key in the ASGI scope that marks a request that is not sampled, so that no layer makes a span for it."""
Mark = Any
"""A tracer's reference to a request; None if the request is not sampled."""


class Tracer(Protocol):
    """Records the statements of requests."""

    def mark(self) -> Mark:
        """Return the mark of the current request."""

    def share(self, marks: Sequence[Mark]) -> None:
        """Record the following statements of this task for all these requests, which share them."""

    def record(self, kind: str, statement: str, seconds: float, failure: BaseException | None) -> None:
        """Record a statement that has just ended after `seconds`, with its failure, if any."""


TRACERS: list[Tracer] = []
"""The tracers of this process: none or one."""


def mark() -> Mark:
    """Return the mark of the current request, to be passed to `share`; None without a tracer."""
    return TRACERS[0].mark() if TRACERS else None


def share(marks: Sequence[Mark]) -> None:
    """Record the following statements of this task for all these requests. Does nothing without a tracer."""
    for tracer in TRACERS:
        tracer.share(marks)
