"""Garbage collection: tuned for a process that serves requests."""

import gc

THRESHOLD = 50_000
"""How many container objects may be allocated before a collection: more than the rows of some responses."""


def tune() -> None:
    """Collect rarely, and exempt all objects that exist now. Only for a process that runs nothing but the service."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
