"""Replicas: reads go to standbys of PostgreSQL, and no client reads an older state than before.

    write --> the primary answers, with a token of its position in the write-ahead log (`Read-After`)
    read with a token --> a standby that has replayed so far; else, after 50 ms, the primary
    read without a token --> any standby that does not lag

This package is a wing: no other package of the kit knows it. Delete it together with its tests, its settings and the
line of `main` that installs it. Invariants:

- `Server.replayed` is a lower bound: every later statement on the server sees at least this position.
- `Server.covered` is an upper bound: no response of the server so far is of a later position, unless a response
  without a position is newer (`Server.is_position_known` is false).
- Both are read by statements on the server, after the snapshot of the statement: never compared in one statement.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import URL


def install(service: Any, standbys: Sequence[URL], max_lag: float) -> None:
    """Let a service read from these standbys, each while its lag is at most `max_lag` seconds.

    It is installed after the fast path, whose sessions it routes too. The modules are imported for standbys only.
    """
    if standbys:
        import_module("kit.replicas.installation").install(service, standbys, max_lag)
