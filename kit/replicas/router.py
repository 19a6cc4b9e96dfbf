"""The router: chooses the server of each read session, and watches the servers."""

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
from kit.replicas.engines import track
from kit.replicas.positions import NOWHERE, Position
from kit.replicas.probes import SECONDS, UNREACHED, Probe
from kit.replicas.servers import INDIRECT, OK, PRIMARY, UNREACHABLE, Primary, Server, Standby
from kit.replicas.views import VIEW, View

log = logging.getLogger("kit")
WAIT_SECONDS = 0.05
"""The longest time that a read waits for a standby to replay what it has to see."""
PAUSE_SECONDS = 0.001
"""The pause between two questions while a read waits."""
WATCH_SECONDS = 0.5
"""The time between two questions to a server by which it is watched."""


class Router:
    """The primary and the standbys of a database, of which `max_lag` is the longest lag in seconds."""

    def __init__(self, database: Database, urls: Sequence[URL], max_lag: float) -> None:
        self.database, self.max_lag = database, max_lag
        self.primary = Primary("primary", database.url, database.primary.reader)
        engines = [create_engines(url, database.pool).reader for url in urls]
        self.standbys = [Standby(name_of(url), url, engine) for url, engine in zip(urls, engines, strict=True)]
        self.loop: asyncio.AbstractEventLoop | None = None
        self.system = ""
        self.floor: Position | None = None
        """What the primary had when the service started: its migrations are seen by every read."""
        self.write: Callable[..., WriteSession] = database.write
        track(self.primary, database.primary.writer)
        for standby in self.standbys:
            track(standby, standby.engine)

    def choose(self) -> AsyncEngine:
        """Return the engine for a read session of this task."""
        view = VIEW.get()
        if view is None or asyncio.get_running_loop() is not self.loop:
            return self.database.reader
        server = view.server = self.server_for(view)
        view.used.add(server)
        COUNTS["replica_reads", server.name] += 1
        return server.engine

    def server_for(self, view: View) -> Server:
        if view.is_writing:
            return self.primary
        if isinstance(view.server, Standby) and view.server.is_usable:
            return view.server
        if view.is_answered or (self.primary in view.used and not self.primary.is_settled):
            return self.primary
        found = self.able(view.needed, self.primary.position if self.primary in view.used else None)
        if not found:
            return self.primary
        return min(random.sample(found, min(2, len(found))), key=lambda standby: standby.load)

    def able(self, *needed: Position | None) -> list[Standby]:
        """Return the standbys that have these positions."""
        return [
            standby
            for standby in self.standbys
            if standby.is_usable and standby.has(self.floor_of(standby)) and all(map(standby.has, needed))
        ]

    def floor_of(self, standby: Standby) -> Position | None:
        """Return what a standby must have at least; nothing if it has followed another primary since the start."""
        return self.floor if self.floor and self.floor.timeline == standby.timeline else None

    def open_write(self, **restrictions: bool) -> WriteSession:
        """Return a write session. The request reads from the primary from now on."""
        view = VIEW.get()
        if view is not None:
            view.is_writing = True
            view.used.add(self.primary)
        return self.write(**restrictions)

    async def wait_for(self, needed: Position) -> None:
        """Wait until a standby has a position; at most `WAIT_SECONDS`."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.able(needed) and (left := end - time.monotonic()) > 0:
            likely = [each for each in self.standbys if each.is_usable and each.timeline == needed.timeline]
            if not likely:
                return
            questions = [standby.probe.ask() for standby in likely]
            await asyncio.wait(questions, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not self.able(needed):
                await asyncio.sleep(PAUSE_SECONDS)

    async def position_of(self, view: View) -> Position:
        """Return a position that covers everything that a view has seen; `NOWHERE` if it is unknown."""
        moments = {server: server.unsettled for server in view.used}  # other requests go on meanwhile
        unsettled = [server.probe.ask() for server, moment in moments.items() if moment > server.asked]
        if unsettled:
            await asyncio.wait(unsettled, timeout=SECONDS)
        positions = [server.position for server in moments]
        timelines = {position.timeline for position in positions}
        is_known = all(moment <= server.asked for server, moment in moments.items())
        return max(positions) if is_known and len(timelines) == 1 and 0 not in timelines else NOWHERE

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the servers. Until then, and afterwards, everything is read from the primary."""
        probes = [self.primary.probe, *(standby.probe for standby in self.standbys)]
        for probe in probes:
            probe.start()
        watched: list[Callable[[], Any]] = [self.watch_primary]
        watched += [partial(self.watch_standby, standby) for standby in self.standbys]
        await self.watch_primary()
        await asyncio.gather(*(watch() for watch in watched[1:]))
        self.floor = self.primary.position if self.primary.timeline else None
        self.loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(self.repeated(*each)) for each in zip(watched, probes, strict=True)]
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
        """Ask the primary for its position. If it has become a standby, the next question goes to another host."""
        probe = self.primary.probe
        try:
            status = await probe.status()
        except UNREACHED:
            return
        if status.timeline is not None:
            probe.close()
            return
        self.system = status.system
        self.primary.note(status.state, status.started)
        self.primary.sample()

    async def watch_standby(self, standby: Standby) -> None:
        """Ask a standby for its state, and leave it out while that is not `ok`."""
        try:
            status = await standby.probe.status()
        except UNREACHED:
            self.note_state(standby, UNREACHABLE)
            standby.terminate()
            return
        standby.identify(status.identity)
        standby.timeline = max(standby.timeline, status.timeline or 0) if status.timeline else 0
        self.system = self.system or status.system
        standby.note(status.state, status.started)
        self.note_state(standby, standby.judge(self.primary, self.max_lag) if status.is_direct else INDIRECT)
        GAUGES["replica_lag", standby.name] = standby.lag

    async def repeated(self, watch: Callable[[], Any], probe: Probe) -> None:
        """Watch a server until the end."""
        while self.loop is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await probe.wake.wait()
            probe.wake.clear()
            if self.loop is not None:
                await watch()

    def note_state(self, standby: Standby, state: str) -> None:
        if state != standby.reported:
            level = logging.INFO if state in (OK, PRIMARY) else logging.WARNING
            log.log(level, "Standby %s: %s", standby.name, state)
        standby.state = standby.reported = state
        GAUGES["replica_ok", standby.name] = float(state in (OK, PRIMARY))

    def states(self) -> dict[str, str]:
        """Return the state of each standby, by its name."""
        return {f"standby {standby.name}": standby.state for standby in self.standbys}
