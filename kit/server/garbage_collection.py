"""Garbage collection, tuned for a process that serves requests."""

import gc

THRESHOLD = 50_000
"""The surplus of allocated container objects that starts a collection; some hundred rows do not reach it."""


def tune() -> None:
    """Collect rarely, and freeze the existing objects. For a process of the service, after everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
