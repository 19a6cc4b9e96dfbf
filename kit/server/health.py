"""Health checks: of the process, and of the database."""

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
        """503 while the database cannot be reached or lacks a migration of this version, and while it shuts down."""
        if shutdown.has_begun:
            raise unready("The service is shutting down.")
        try:
            async with runtime_of(request).database.connect() as connection:
                is_current = await connection.run_sync(migrations.is_current)
        except FAILURES as failed:
            raise unready("The database cannot be reached.") from failed
        if not is_current:
            raise unready("The database is not migrated; run `make migrate`.")
        return JSONResponse({"status": "ready"})

    return router
