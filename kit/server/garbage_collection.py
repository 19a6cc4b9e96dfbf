"""Garbage collection: tuned for a process that serves requests."""

import gc

THRESHOLD = 50_000
"""Container objects that are made and not freed until a collection runs: some hundred rows do not start one."""


def tune() -> None:
    """Collect rarely, and never what exists now. For a process that belongs to the service, when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
