"""Tracked connections: they get the position of their server with each result, without another round trip."""

import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg

from kit.replicas.positions import COLUMN, NOTICE, NOTICE_PREFIX, POSITION_QUERY

if TYPE_CHECKING:
    from kit.replicas.servers import Server

MAX_STATEMENTS = 1000
IDENTITY = "SELECT pg_postmaster_start_time()::text, pg_backend_pid()"


@lru_cache(MAX_STATEMENTS)
def with_state(query: str) -> str | None:
    """Return a SELECT with the server's state as additional first column; None if that would change its rows."""
    if not query.startswith("SELECT ") or query.startswith("SELECT DISTINCT") or "UNION " in query:
        return None
    return f"SELECT {COLUMN}, {query.removeprefix('SELECT ')}"


class TrackedConnection(asyncpg.Connection):
    """A connection of asyncpg that records the position of its server."""

    server: "Server | None" = None
    sends_notices = False
    """Whether the server sends its position with a COMMIT, for which the role needs PL/pgSQL."""
    committed = 0.0
    """When the latest COMMIT was sent (`time.monotonic`)."""

    async def track(self, server: "Server") -> str:
        """Start to record the positions of a server. Returns its start time as text; an empty text behind a pooler."""
        self.server = server
        server.connections.add(self)
        self.add_log_listener(on_notice)
        identity, process = await self.fetchrow(IDENTITY)  # type: ignore[misc]  # there is a row
        with suppress(asyncpg.PostgresError):
            await super().execute(NOTICE)
            self.sends_notices = True
        return str(identity) if process == self.get_server_pid() else ""

    async def fetch_values(self, query: str, *arguments: Any) -> list[Any]:
        """Return the values of the rows of a SELECT, and record the position of the server."""
        extended, started = with_state(query), time.monotonic()
        if extended is None or self.server is None:
            rows = await self.fetch(query, *arguments)
            await self.query_position()
            return rows
        found = await self.fetch(extended, *arguments)
        if not found:
            await self.query_position()
            return []
        self.server.record(found[0][0], started)
        return [row[1:] for row in found]

    async def query_position(self) -> None:
        """Query and record the position of the server, which includes everything in the results so far."""
        started = time.monotonic()
        state = await self.fetchval(POSITION_QUERY)
        assert self.server is not None, "it is tracked"
        self.server.record(state, started)

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109  asyncpg's
        """Execute a command. With a COMMIT, the server also sends its position, in the same round trip."""
        command, server = query.rstrip("; "), self.server
        if arguments or server is None or not command.endswith("COMMIT"):
            return await super().execute(query, *arguments, timeout=timeout)
        if not self.sends_notices:
            status = await super().execute(query, timeout=timeout)
            server.unknown_at = time.monotonic()
            return status
        self.committed = time.monotonic()
        await super().execute(f"{command}; {NOTICE}", timeout=timeout)
        return "COMMIT"


def on_notice(connection: Any, message: Any) -> None:
    """Record the position that the server sends with a COMMIT. Called by asyncpg before the COMMIT returns."""
    if message.message.startswith(NOTICE_PREFIX):
        connection.server.record(message.message.removeprefix(NOTICE_PREFIX), connection.committed)
