"""Health checks of the process, and of what it needs to serve requests."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from kit.database import preparation
from kit.database.databases import Database
from kit.database.error_responses import unready
from kit.database.errors import FAILURES
from kit.openapi.responses import failure
from kit.operations.caller_needs import needs_no_caller
from kit.runtime import Runtime, runtime_of
from kit.server.shutdown import Shutdown

OK, UNREACHABLE, INCOMPLETE, UNKNOWN = "ok", "unreachable", "incomplete", "unknown"
CHECK_SECONDS = 2.0
"""The timeout of a probe. It must get a response before it gives up itself."""
GIVE_UP_SECONDS = 30.0
"""The timeout of a check, which goes on after its probe was answered.

Breaking off a connection needs another connection, which cancels its statement. While a database hangs, probes must not
send such requests one after the other: they make PgBouncer 1.18 exit.
"""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """The service can serve requests."""

    status: Literal["ready"]
    checks: dict[str, str] = Field(description="The state of each part: `database`, `schema`, `redis` and others.")


def health_router(shutdown: Shutdown) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", response_model=Alive, summary="Is the process alive?", operation_id="health-live")
    @needs_no_caller
    async def live() -> Response:
        return JSONResponse({"status": "alive"})

    @router.get(
        "/ready",
        response_model=Ready,
        summary="Is the database there, and migrated?",
        operation_id="health-ready",
        responses={503: failure(503)},
    )
    @needs_no_caller
    async def ready(request: Request) -> Response:
        """Return a 503 while the database cannot be reached or lacks migrations, and while the service shuts down.

        `checks` has the state of each part, and `missing` the migrations. Without Redis only logins are refused.
        """
        if shutdown.has_begun:
            raise unready("The service is shutting down.")
        runtime = runtime_of(request)
        database, redis = await asyncio.gather(state_of_database(runtime), state_of_redis(runtime))
        checks = {**database.checks, **redis}
        for further in runtime.checks:
            checks |= further()
        if database.fault:
            raise unready(database.fault, checks=checks, **database.lacks)
        return JSONResponse({"status": "ready", "checks": checks})

    return router


class DatabaseState(NamedTuple):
    """The states of the database and its schema, why the service is not ready (`fault`), and what is missing."""

    checks: dict[str, str]
    fault: str = ""
    lacks: Mapping[str, Any] = MappingProxyType({})


checks: WeakKeyDictionary[Database, asyncio.Task[DatabaseState]] = WeakKeyDictionary()
"""The last check of each database."""


async def state_of_database(runtime: Runtime) -> DatabaseState:
    """Return the state of the database, within `CHECK_SECONDS`. A probe joins a check that is running."""
    check = running_check(runtime)
    done, _ = await asyncio.wait([check], timeout=CHECK_SECONDS)
    if done:
        return check.result()
    return DatabaseState(
        {"database": UNREACHABLE, "schema": UNKNOWN}, f"The database has not answered within {CHECK_SECONDS:g} s."
    )


def running_check(runtime: Runtime) -> "asyncio.Task[DatabaseState]":
    """Return the check of the database that is running; a new one if there is none in this event loop."""
    check = checks.get(runtime.database)
    if check is None or check.done() or check.get_loop() is not asyncio.get_running_loop():
        check = checks[runtime.database] = asyncio.create_task(read_database(runtime))
    return check


async def read_database(runtime: Runtime) -> DatabaseState:
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            state = await preparation.read_state(runtime.database)
    except (*FAILURES, OSError):  # also one while the connection is broken off
        return DatabaseState({"database": UNREACHABLE, "schema": UNKNOWN}, "The database cannot be reached.")
    if state.missing or state.absent:
        lacks = {"missing": state.missing or state.absent}
        return DatabaseState({"database": OK, "schema": INCOMPLETE}, state.message, lacks)
    return DatabaseState({"database": OK, "schema": OK})


async def state_of_redis(runtime: Runtime) -> dict[str, str]:
    """Return the state of the Redis that counts failed logins; an empty dictionary if none is used."""
    is_there = await runtime.login_limits.counters.is_reachable()
    return {} if is_there is None else {"redis": OK if is_there else UNREACHABLE}
