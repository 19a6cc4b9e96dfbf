"""Metrics: what the service does and how long it takes, for Prometheus, at `GET /metrics` or on a port of its own.

This package is a wing: no other package of the kit knows it, and the service works without it. Delete it together with
its tests and the lines of `main` that install it.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kit.metrics.workers import share


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may read the metrics.

    `token`: the bearer token that reads `/metrics`, besides those of superusers; empty for none. `port`: a port of its
    own at the address `host`, which needs no token; then the service itself has no `/metrics`.
    """

    token: str = ""
    port: int | None = None
    host: str = "127.0.0.1"


def install(service: Any, access: Access, directory: str = "") -> None:
    """Measure a service, and let Prometheus read the metrics.

    `directory` is where several workers share their metrics; a folder for temporary files if it is empty. The other
    modules are imported here, because `prometheus_client` finds the folder when it is imported.
    """
    share(directory)
    import_module("kit.metrics.installation").install(service, access)
