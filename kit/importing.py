"""Delays garbage collection during imports, which makes them faster: imported objects stay, so nothing can be freed.

`kit` imports this module first, and `main` imports `kit` first. `end` is called when a `Service` is complete. A process
that serves requests is tuned further when it starts (`kit.server.garbage_collection`).
"""

import gc

WHILE_IMPORTING = 1_000_000
"""The threshold of `gc` during imports, in container objects: more than the imports create."""
THRESHOLD = 50_000
"""The threshold of `gc` after the imports. A request that reads some hundred rows does not reach it."""

gc.set_threshold(WHILE_IMPORTING)


def end() -> None:
    """Allow collections again, and move all objects to the oldest generation, which is rarely examined."""
    gc.freeze()
    gc.unfreeze()  # to the oldest generation
    gc.set_threshold(THRESHOLD)
