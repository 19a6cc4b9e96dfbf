"""Importing with few garbage collections: the objects that an import creates stay, so that collections find nothing.

`kit` imports this module first. A process that serves requests is tuned further when it starts
(`kit.server.garbage_collection`).
"""

import gc

THRESHOLD = 50_000
"""The surplus of allocated container objects that starts a collection; some hundred rows do not reach it."""

gc.set_threshold(THRESHOLD)
