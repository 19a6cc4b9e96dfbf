"""Garbage collection, tuned for a process that serves requests."""

import gc

from kit.importing import THRESHOLD


def tune() -> None:
    """Collect rarely, and freeze the existing objects. For a process of the service, after everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
