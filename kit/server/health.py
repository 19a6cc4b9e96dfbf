"""Health checks of the process and of the database."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from kit.database import migrations
from kit.database.errors import FAILURES, unready
from kit.openapi.responses import failure
from kit.runtime import runtime_of
from kit.server.shutdown import Shutdown


def health_router(shutdown: Shutdown) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Is the process alive?", operation_id="health-live")
    async def live() -> Response:
        return JSONResponse({"status": "alive"})

    @router.get(
        "/ready",
        summary="Is the database there, and migrated?",
        operation_id="health-ready",
        responses={503: failure(503)},
    )
    async def ready(request: Request) -> Response:
        """Return a 503 while the database cannot be reached, and while the service shuts down.

        Also while the database lacks migrations of this version, which `missing` lists. A database that a newer version
        has migrated is ready.
        """
        if shutdown.has_begun:
            raise unready("The service is shutting down.")
        try:
            state = await migrations.read_state(runtime_of(request).database)
        except FAILURES as failed:
            raise unready("The database cannot be reached.") from failed
        if state.missing or state.absent:
            raise unready(state.message, missing=state.missing or state.absent)
        return JSONResponse({"status": "ready"})

    return router
