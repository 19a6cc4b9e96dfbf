"""Garbage collection: Python's collector, tuned for a process that serves requests."""

import gc

from kit.importing import THRESHOLD


def tune() -> None:
    """Freeze the existing objects, and collect rarely. To be called by a server process when all code is imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
