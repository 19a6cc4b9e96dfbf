"""Importing without garbage collections: the objects that an import creates stay, so that collections find nothing.

`kit` imports this module first, and `main` imports `kit` first. A `Service` that is complete collects as usual, but
seldom. A process that serves requests is tuned further when it starts (`kit.server.garbage_collection`).
"""

import gc

WHILE_IMPORTING = 1_000_000
"""The surplus of allocated container objects that starts a collection: more than an import creates."""
THRESHOLD = 50_000
"""The same afterwards; some hundred rows do not reach it."""

gc.set_threshold(WHILE_IMPORTING)


def end() -> None:
    """Collect again: the application is imported. Its objects become old ones, which are seldom examined."""
    gc.freeze()
    gc.unfreeze()  # to the oldest generation
    gc.set_threshold(THRESHOLD)
