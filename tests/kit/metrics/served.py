"""An application with metrics for tests with several workers."""

import os
from importlib import import_module

from kit import Database
from kit.metrics import Access, install
from tests.engines import url_for
from tests.kit.server.small import small_service

port = os.environ.get("METRICS_PORT")
app = small_service(
    auth=False,
    database=Database(url_for(os.environ["DATABASE_URL"])),
    public=["GET /pid"],
)
access = Access(token=os.environ.get("METRICS_TOKEN", ""), port=int(port) if port else None)
install(app, access, os.environ.get("METRICS_DIR", ""))
OWN = import_module("prometheus_client").Counter("own_visits", "A metric of the application itself.")
"""Defined after the metrics are installed, as a module is that `main` imports later, or a handler uses."""


@app.get("/pid")
async def pid() -> int:
    """Return the id of the worker."""
    OWN.inc()
    return os.getpid()
