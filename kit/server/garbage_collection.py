"""How often is garbage looked for: seldom, because what is there at the start stays, and a request leaves little."""

import gc

ALLOCATIONS = 50_000
"""More of them than objects freed, until a collection: some hundred rows are no reason for one."""


def relax() -> None:
    """For a process that is the service's own, when everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)
