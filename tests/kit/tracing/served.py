"""An application with traces for tests with a server."""

import os

from kit import Database
from kit.tracing import install
from tests.engines import url_for
from tests.kit.server.small import small_service

app = small_service(auth=False, database=Database(url_for(os.environ["DATABASE_URL"])), public=["GET /pid"])
install(app, "small", os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))


@app.get("/pid")
async def pid() -> int:
    """Return the id of the worker."""
    return os.getpid()
