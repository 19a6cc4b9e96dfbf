"""Probes: a separate connection to each server, for queries of its state."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import URL

from kit.database.errors import ASYNCPG_ERRORS
from kit.database.hosts import connect_to
from kit.database.url_options import driver_options
from kit.replicas.positions import POSITION_QUERY, STATE

if TYPE_CHECKING:
    from kit.replicas.servers import Server

SECONDS = 1.0
"""The timeout of a query."""
APPLICATION = "kit.replicas"
"""The `application_name` of probes."""
RECEIVED = "SELECT received_tli FROM pg_stat_wal_receiver"
KNOWN = "greatest(checkpoint.timeline_id, recovery.min_recovery_end_timeline)"
RECOVERED = f"SELECT {KNOWN} FROM pg_control_checkpoint() AS checkpoint, pg_control_recovery() AS recovery"  # noqa: S608
STATUS = f"""
SELECT {STATE} AS state, pg_postmaster_start_time()::text AS identity,
    CASE WHEN pg_is_in_recovery() THEN coalesce(({RECEIVED}), ({RECOVERED})) END AS timeline,
    (SELECT system_identifier::text FROM pg_control_system()) AS system, pg_backend_pid() AS process
"""  # noqa: S608  texts of this module
"""The query of a probe. For a role without `pg_read_all_stats`, the timeline is that of the last checkpoint."""
UNREACHED = (OSError, *ASYNCPG_ERRORS)
"""The exceptions of a failed query. TimeoutError is a subclass of OSError."""


class Status(NamedTuple):
    """The row of `STATUS`, and when the query began (`time.monotonic`).

    `timeline` is None on a primary. `is_direct` is false if the connection leads through a pooler.
    """

    state: str
    identity: str
    timeline: int | None
    system: str
    is_direct: bool
    started: float


class Probe:
    """The connection for queries of the state of a server."""

    def __init__(self, url: URL, server: "Server") -> None:
        self.url, self.server = url, server
        self.connection: Any = None
        self.start()

    def start(self) -> None:
        """Create the lock, the event and the tasks anew, for the running event loop."""
        self.lock, self.wake = asyncio.Lock(), asyncio.Event()
        self.running: asyncio.Task[None] | None = None
        self.following: asyncio.Task[None] | None = None

    async def status(self) -> Status:
        """Return the status of the server. Raises one of `UNREACHED`."""
        async with self.lock:
            try:
                connection = await self._connected()
                started = time.monotonic()
                row = await connection.fetchrow(STATUS, timeout=SECONDS)
            except UNREACHED:
                self.close()
                raise
        is_direct = row["process"] == connection.get_server_pid()
        return Status(row["state"], row["identity"], row["timeline"], row["system"], is_direct, started)

    def query_position(self) -> asyncio.Task[None]:
        """Return a task that queries the position of the server.

        Its query begins after the call. Callers share a task that has not begun yet.
        """
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._query_position())
            return self.running
        if self.following is None:
            self.following = asyncio.create_task(self._query_after(self.running))
        return self.following

    async def _query_after(self, previous: asyncio.Task[None]) -> None:
        await asyncio.wait([previous])
        self.running, self.following = self.following, None
        await self._query_position()

    async def _query_position(self) -> None:
        async with self.lock:
            try:
                connection = await self._connected()
                started = time.monotonic()
                self.server.record(await connection.fetchval(POSITION_QUERY, timeout=SECONDS), started)
            except UNREACHED:
                self.close()
                self.server.fail()

    async def _connected(self) -> Any:
        if self.connection is None or self.connection.is_closed():
            url, options = driver_options(self.url)
            settings = {"application_name": APPLICATION}
            self.connection = await connect_to(url, {"timeout": SECONDS, **options, "server_settings": settings})
        return self.connection

    def close(self) -> None:
        """Close the connection at once, without a message to the server."""
        if self.connection is not None:
            self.connection.terminate()
            self.connection = None

    async def stop(self) -> None:
        """Wait for running queries, which have the timeout `SECONDS`, and close the connection."""
        queries = [task for task in (self.running, self.following) if task is not None]
        if queries:
            await asyncio.wait(queries)
        if self.connection is not None:
            connection, self.connection = self.connection, None
            with suppress(*UNREACHED):
                await connection.close(timeout=SECONDS)
