"""Is it well: the process, and the database behind it."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from kit.database import migrations as migration
from kit.database.errors import FAILURES
from kit.http.problems import Problem
from kit.openapi.responses import failure
from kit.operations.endpoint import Endpoint

router = APIRouter(prefix="/health", tags=["health"], route_class=Endpoint)


@router.get("/live", summary="Is the process alive?")
async def live_health() -> Response:
    return JSONResponse({"status": "alive"})


@router.get("/ready", summary="Is the database there, and migrated?", responses={503: failure(503)})
async def ready_health(request: Request) -> Response:
    """503 while the database cannot be reached or lacks a migration of this version, and before the service ends."""
    if request.app.state.shutdown.has_begun:
        raise unready("The service is shutting down.")
    try:
        async with request.app.state.database.connect() as connection:
            is_current = await connection.run_sync(migration.is_current)
    except FAILURES as failed:
        raise unready("The database cannot be reached.") from failed
    if not is_current:
        raise unready("The database is not migrated; run `make migrate`.")
    return JSONResponse({"status": "ready"})


def unready(detail: str) -> Problem:
    return Problem(503, detail, kind="unready", headers={"Retry-After": "1"})
