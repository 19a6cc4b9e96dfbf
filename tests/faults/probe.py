"""The application with slow operations, and an operation that reports the pools: `uvicorn tests.faults.probe:app`."""

import asyncio
import os
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import event
from sqlmodel import col, func, select

from heroes.hero import Hero
from heroes.team import Team
from kit import ReadSession, Session, Who, allowing, runtime_of
from main import create_app
from settings import load

router = APIRouter(prefix="/probes", tags=["probes"], route_class=allowing(read=Who.MEMBERS))


async def sleep(request: Request, session: ReadSession | Session, milliseconds: int) -> None:
    """Use the session's connection for this time: in one statement, or between two where the database cannot sleep."""
    half = milliseconds / 2000
    for _ in range(2):
        if runtime_of(request).database.is_sqlite:
            await session.exec(select(func.count(col(Hero.id))))
            await asyncio.sleep(half)
        else:
            await session.exec(select(func.pg_sleep(half)))


@router.get("/sleep/{milliseconds}")
async def read_slowly(milliseconds: int, request: Request, session: ReadSession) -> dict[str, int]:
    await sleep(request, session, milliseconds)
    return {"slept": milliseconds}


@router.post("/sleep/{milliseconds}", status_code=201)
async def write_slowly(milliseconds: int, name: str, request: Request, session: Session) -> dict[str, str]:
    """Create a team with this name, and sleep before the COMMIT."""
    session.add(Team(name=name, headquarters="Bed"))
    await session.flush()
    await sleep(request, session, milliseconds)
    return {"name": name}


@router.get("/pool")
async def pool(request: Request) -> dict[str, int]:
    """Return the number of connections in use; a pool that both engines share counts once."""
    database = runtime_of(request).database
    pools: dict[int, Any] = {id(engine.pool): engine.pool for engine in (database.writer, database.reader)}
    return {"checked_out": sum(pool.checkedout() for pool in pools.values())}


def defer_foreign_keys(connection: Any, *_: object) -> None:
    connection.cursor().execute("PRAGMA defer_foreign_keys = ON")


app = create_app(load())
app.include_router(router)
if os.environ.get("DEFER_FOREIGN_KEYS"):
    event.listen(app.runtime.database.writer.sync_engine, "checkout", defer_foreign_keys)
