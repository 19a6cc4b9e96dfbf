"""An application for tests with servers in separate processes."""

import asyncio
import gc
import logging
import os

from sqlmodel import select

from kit import Database, ReadSession, Shutdown
from kit.server.log_lines import configure_logging
from tests.engines import url_for
from tests.kit.server.small import small_service

log = logging.getLogger("kit")
configure_logging(as_json=False, level="INFO")
app = small_service(
    auth=False, database=Database(url_for(os.environ["DATABASE_URL"])), shutdown=Shutdown(delay=0.5, timeout=10)
)


@app.get("/process")
async def process(session: ReadSession) -> dict[str, int]:
    """Return facts about the process, after a query."""
    await session.exec(select(1))
    return {"threshold": gc.get_threshold()[0], "frozen": gc.get_freeze_count()}


@app.get("/slow")
async def slow() -> str:
    log.warning("slow has begun")
    await asyncio.sleep(1.5)
    return "done"


@app.get("/broken")
async def broken() -> None:
    raise RuntimeError("broken")
