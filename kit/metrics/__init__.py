"""Metrics for Prometheus: counters, gauges and histograms of a service, at `GET /metrics` or on a separate port.

This package is optional: no other package of the kit imports it, and the service works without it. To remove it, delete
it together with its tests and the lines of `main` that install it.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kit.metrics.workers import share


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may read the metrics.

    `token`: a bearer token that may read `/metrics`, besides those of superusers; empty for none. `port`: a separate
    port at the address `host`, which needs no token; the service then has no route `/metrics`.
    """

    token: str = ""
    port: int | None = None
    host: str = "127.0.0.1"


def install(service: Any, access: Access, directory: str = "") -> None:
    """Measure a service, and let Prometheus read the metrics. Exits or raises as `workers.share` does.

    `directory` is the folder in which several workers share their metrics; if it is empty, one for temporary files. It
    has to be chosen before `prometheus_client` is imported, so the other modules are imported here.
    """
    share(directory)
    import_module("kit.metrics.installation").install(service, access)
