"""Servers: the known state of the primary and of each standby, as statements and probes have reported it."""

import time
from bisect import bisect_right
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.replicas.connections import TrackedConnection
from kit.replicas.positions import Position, number_of
from kit.replicas.probes import Probe

OK, UNREACHABLE, LAGGING, PRIMARY = "ok", "unreachable", "lagging", "primary"
OTHER_TIMELINE, INDIRECT = "other timeline", "behind a pooler"
"""The states of a standby; `primary` for one that was promoted."""
SUSPENSION_SECONDS = 0.2
"""How long a standby is not used after it has cancelled a query because of a conflict with recovery."""
SMOOTHING = 0.1
"""The weight of the latest response in the mean response time, an exponential moving average."""
MAX_SAMPLES = 10_000
"""The maximum number of stored positions of the primary."""


class Server:
    """A server of PostgreSQL. Its `replayed` is a lower bound, its `covered` an upper bound: see `kit.replicas`."""

    def __init__(self, name: str, url: URL, engine: AsyncEngine) -> None:
        self.name, self.engine, self.probe = name, engine, Probe(url, self)
        self.replayed = self.covered = self.timeline = 0
        self.known_at = self.unknown_at = 0.0
        """`known_at`: when the latest statement began that returned a position. `unknown_at`: when the latest ended
        that did not return one. Both by `time.monotonic`.
        """
        self.connections: WeakSet[TrackedConnection] = WeakSet()
        self.last_state = ""

    @property
    def position(self) -> Position:
        return Position(self.timeline, self.covered)

    @property
    def is_position_known(self) -> bool:
        """Whether `covered` includes everything in the responses so far."""
        return self.unknown_at <= self.known_at

    def record(self, state: str, started: float) -> None:
        """Record the state that a statement has returned, which began at `started` (`time.monotonic`)."""
        self.known_at = max(self.known_at, started)
        if state != self.last_state:
            self.last_state = state
            self.parse(state)

    def parse(self, state: str) -> None:
        """Set the positions and the timeline from a state, which has the form of `kit.replicas.positions.STATE`."""
        raise AssertionError

    def fail(self) -> None:
        """Record that the server has refused or lost a connection. Has no effect on the primary."""

    def terminate(self) -> None:
        """Close all connections at once. Their statements fail, and reads are retried on another server."""
        for connection in list(self.connections):
            connection.terminate()


class Primary(Server):
    """The primary, with samples of its positions and when it had them, to measure the lag of standbys."""

    def __init__(self, name: str, url: URL, engine: AsyncEngine) -> None:
        super().__init__(name, url, engine)
        self.samples: list[int] = []
        self.times: list[float] = []

    def parse(self, state: str) -> None:
        if not state.startswith("!"):
            return  # it has become a standby: the probe looks for the primary on another host
        lsn, timeline = state[1:].split(" ")
        if int(timeline, 16) != self.timeline:
            self.timeline, self.covered = int(timeline, 16), 0
            self.samples, self.times = [], []
        self.covered = max(self.covered, number_of(lsn))

    def sample(self) -> None:
        """Store the current position as a sample, if it has changed."""
        if not self.samples or self.covered > self.samples[-1]:
            self.samples.append(self.covered)
            self.times.append(time.monotonic())
        if len(self.samples) > MAX_SAMPLES:
            del self.samples[: MAX_SAMPLES // 2], self.times[: MAX_SAMPLES // 2]

    def lag_of(self, replayed: int) -> float:
        """Return the lag in seconds of a standby at this position: the age of the first later sample; 0 without one."""
        following = bisect_right(self.samples, replayed)
        return time.monotonic() - self.times[following] if following < len(self.samples) else 0.0


class Standby(Server):
    """A standby, with its state and load, by which reads are routed."""

    state = reported = UNREACHABLE
    """`reported` is the state that was logged last."""
    identity = ""
    """The start time of the server. After a restart it may have replayed less than before."""
    lag = suspended_until = 0.0
    response_seconds = 0.001
    """The moving average of the response time."""

    @property
    def is_usable(self) -> bool:
        return self.state == OK and time.monotonic() >= self.suspended_until

    @property
    def load(self) -> float:
        """The expected duration of another read: the mean response time, times the number of concurrent reads then."""
        pool: Any = self.engine.sync_engine.pool
        return float(self.response_seconds * (1 + pool.checkedout()))

    def has(self, position: Position | None) -> bool:
        """Return whether every later statement sees this position; True for None."""
        return position is None or (position.timeline == self.timeline and position.lsn <= self.replayed)

    def record(self, state: str, started: float) -> None:
        super().record(state, started)
        self.response_seconds += SMOOTHING * (time.monotonic() - started - self.response_seconds)

    def parse(self, state: str) -> None:
        if state.startswith("!"):  # it was promoted: no position of another standby is comparable
            self.state, self.timeline = PRIMARY, 0
            return
        replayed, received = map(number_of, state.split(" "))
        self.replayed = max(self.replayed, replayed)
        self.covered = max(self.covered, replayed, received)

    def identify(self, identity: str) -> None:
        """Reset the positions if the server was restarted."""
        if identity != self.identity:
            self.identity, self.replayed, self.timeline, self.last_state = identity, 0, 0, ""

    def current_state(self, primary: Primary, max_lag: float) -> str:
        """Set `lag`, and return the state of a standby that has responded to its probe."""
        self.lag = primary.lag_of(self.replayed)
        if self.timeline == 0:
            return PRIMARY
        if primary.timeline not in (0, self.timeline):
            return OTHER_TIMELINE
        return LAGGING if self.lag > max_lag else OK

    def fail(self) -> None:
        self.state = UNREACHABLE
        self.probe.wake.set()

    def suspend(self, seconds: float = SUSPENSION_SECONDS) -> None:
        """Do not use this standby for some seconds."""
        self.suspended_until = time.monotonic() + seconds
