"""The router: chooses the server of each read session, and monitors the servers."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database.databases import Database, create_engines
from kit.database.servers import name_of
from kit.database.sessions import WriteSession
from kit.http.events import COUNTS, GAUGES
from kit.replicas.contexts import READ_CONTEXT, ReadContext
from kit.replicas.engines import track
from kit.replicas.positions import UNKNOWN_POSITION, Position
from kit.replicas.probes import SECONDS, UNREACHED, Probe
from kit.replicas.servers import INDIRECT, OK, PRIMARY, UNREACHABLE, Primary, Server, Standby

log = logging.getLogger("kit")
WAIT_SECONDS = 0.05
"""The maximum time that a read waits for a standby to replay the position in its token."""
PAUSE_SECONDS = 0.001
"""The pause between two queries of a position while a read waits."""
WATCH_SECONDS = 0.5
"""The time between two status queries of a server."""


class Router:
    """Routes reads to the primary and the standbys of a database. Standbys that lag over `max_lag` seconds get none."""

    def __init__(self, database: Database, urls: Sequence[URL], max_lag: float) -> None:
        self.database, self.max_lag = database, max_lag
        self.primary = Primary("primary", database.url, database.primary.reader)
        engines = [create_engines(url, database.pool).reader for url in urls]
        self.standbys = [Standby(name_of(url), url, engine) for url, engine in zip(urls, engines, strict=True)]
        self.loop: asyncio.AbstractEventLoop | None = None
        self.system = ""
        self.minimum: Position | None = None
        """The position of the primary when the service started, which standbys must have, with all migrations."""
        self.write: Callable[..., WriteSession] = database.write
        track(self.primary, database.primary.writer)
        for standby in self.standbys:
            track(standby, standby.engine)

    def choose(self) -> AsyncEngine:
        """Return the engine for a new read session of this task. It replaces `Database.choose_reader`."""
        context = READ_CONTEXT.get()
        if context is None or asyncio.get_running_loop() is not self.loop:
            return self.database.reader
        server = context.server = self.server_for(context)
        context.used.add(server)
        COUNTS["replica_reads", server.name] += 1
        return server.engine

    def server_for(self, context: ReadContext) -> Server:
        if context.is_writing:
            return self.primary
        if isinstance(context.server, Standby) and context.server.is_usable:
            return context.server
        if context.has_response_started or (self.primary in context.used and not self.primary.is_position_known):
            return self.primary
        found = self.standbys_with(context.needed, self.primary.position if self.primary in context.used else None)
        if not found:
            return self.primary
        return min(random.sample(found, min(2, len(found))), key=lambda standby: standby.load)

    def standbys_with(self, *needed: Position | None) -> list[Standby]:
        """Return the usable standbys that have replayed all these positions."""
        return [
            standby
            for standby in self.standbys
            if standby.is_usable and standby.has(self.minimum_for(standby)) and all(map(standby.has, needed))
        ]

    def minimum_for(self, standby: Standby) -> Position | None:
        """Return the minimum position of a standby; None if its timeline differs from that at the start."""
        return self.minimum if self.minimum and self.minimum.timeline == standby.timeline else None

    def open_write(self, **restrictions: bool) -> WriteSession:
        """Return a write session. All later reads of the request go to the primary."""
        context = READ_CONTEXT.get()
        if context is not None:
            context.is_writing = True
            context.used.add(self.primary)
        return self.write(**restrictions)

    async def wait_for(self, needed: Position) -> None:
        """Wait until a standby has replayed a position, for at most `WAIT_SECONDS`."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.standbys_with(needed) and (left := end - time.monotonic()) > 0:
            candidates = [each for each in self.standbys if each.is_usable and each.timeline == needed.timeline]
            if not candidates:
                return
            queries = [standby.probe.query_position() for standby in candidates]
            await asyncio.wait(queries, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not self.standbys_with(needed):
                await asyncio.sleep(PAUSE_SECONDS)

    async def position_of(self, context: ReadContext) -> Position:
        """Return a position that includes all reads and writes of a request; `UNKNOWN_POSITION` if it is unknown."""
        times = {server: server.unknown_at for server in context.used}  # a copy: other requests change `unknown_at`
        queries = [
            server.probe.query_position() for server, unknown_at in times.items() if unknown_at > server.known_at
        ]
        if queries:
            await asyncio.wait(queries, timeout=SECONDS)
        positions = [server.position for server in times]
        timelines = {position.timeline for position in positions}
        is_known = all(unknown_at <= server.known_at for server, unknown_at in times.items())
        return max(positions) if is_known and len(timelines) == 1 and 0 not in timelines else UNKNOWN_POSITION

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Monitor the servers during the block. Before and after it, all reads go to the primary."""
        probes = [self.primary.probe, *(standby.probe for standby in self.standbys)]
        for probe in probes:
            probe.start()
        watched: list[Callable[[], Any]] = [self.watch_primary]
        watched += [partial(self.watch_standby, standby) for standby in self.standbys]
        await self.watch_primary()
        await asyncio.gather(*(watch() for watch in watched[1:]))
        self.minimum = self.primary.position if self.primary.timeline else None
        self.loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self.watch_repeatedly(*each)) for each in zip(watched, probes, strict=True)]
        try:
            yield
        finally:
            self.loop = None
            for probe in probes:
                probe.wake.set()
            await asyncio.wait(tasks)
            for probe in probes:
                await probe.stop()
            for standby in self.standbys:
                standby.state = UNREACHABLE
                await standby.engine.dispose()

    async def watch_primary(self) -> None:
        """Query the position of the primary. If it has become a standby, reconnect for the next query."""
        probe = self.primary.probe
        try:
            status = await probe.status()
        except UNREACHED:
            return
        if status.timeline is not None:
            probe.close()
            return
        self.system = status.system
        self.primary.record(status.state, status.started)
        self.primary.sample()

    async def watch_standby(self, standby: Standby) -> None:
        """Query the status of a standby, and set its state. Only a standby with the state `ok` gets reads."""
        try:
            status = await standby.probe.status()
        except UNREACHED:
            self.record_state(standby, UNREACHABLE)
            standby.terminate()
            return
        standby.identify(status.identity)
        standby.timeline = max(standby.timeline, status.timeline or 0) if status.timeline else 0
        self.system = self.system or status.system
        standby.record(status.state, status.started)
        self.record_state(standby, standby.current_state(self.primary, self.max_lag) if status.is_direct else INDIRECT)
        GAUGES["replica_lag", standby.name] = standby.lag

    async def watch_repeatedly(self, watch: Callable[[], Any], probe: Probe) -> None:
        """Call `watch` each `WATCH_SECONDS`, or when the probe is woken, until the service stops."""
        while self.loop is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await probe.wake.wait()
            probe.wake.clear()
            if self.loop is not None:
                await watch()

    def record_state(self, standby: Standby, state: str) -> None:
        if state != standby.reported:
            level = logging.INFO if state in (OK, PRIMARY) else logging.WARNING
            log.log(level, "Standby %s: %s", standby.name, state)
        standby.state = standby.reported = state
        GAUGES["replica_ok", standby.name] = float(state in (OK, PRIMARY))

    def states(self) -> dict[str, str]:
        """Return the state of each standby by its name, for health checks."""
        return {f"standby {standby.name}": standby.state for standby in self.standbys}
