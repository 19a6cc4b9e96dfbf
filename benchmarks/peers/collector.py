"""The garbage collector with the settings of our service: what was loaded is frozen, and collections are rare."""

import gc

THRESHOLD = 50_000
"""The same as in `kit/server/garbage_collection.py`."""


def relax() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
