"""Replicas: reads go to standbys of PostgreSQL, and no client sees an older state than it has seen before.

    write --> the primary; the response has a token of its position in the write-ahead log (`Read-After`)
    read with a token --> a standby that has replayed this position; after 50 ms without one, the primary
    read without a token --> any standby that does not lag

This package is optional: no other package of the kit imports it. To remove it, delete it together with its tests, its
settings and the line of `main` that installs it. Invariants:

- `Server.replayed` is a lower bound: every later statement on the server sees at least this position.
- `Server.covered` is an upper bound: no response of the server so far shows a later position, unless a response
  without a position is newer (`Server.is_position_known` is false).
- Both come from statements that read the position after their snapshot was taken.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import URL


def install(service: Any, standbys: Sequence[URL], max_lag: float) -> None:
    """Let a service read from these standbys, from each while its lag is at most `max_lag` seconds.

    To be called after the fast path was installed, whose sessions are routed too. Without standbys it does nothing.
    """
    if standbys:
        import_module("kit.replicas.installation").install(service, standbys, max_lag)
