"""Servers: what is known of the primary and of each standby, from their answers and from the questions to them."""

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
"""The states of a standby; `primary` after it was promoted."""
REST_SECONDS = 0.2
"""Seconds for which a standby is left out after it has cancelled a query, because of a conflict with recovery."""
SMOOTHING = 0.1
"""The weight of the latest answer in the mean time of answers."""
MAX_SAMPLES = 10_000


class Server:
    """A server of PostgreSQL. Its `replayed` is a lower bound, its `covered` an upper bound: see `kit.replicas`."""

    def __init__(self, name: str, url: URL, engine: AsyncEngine) -> None:
        self.name, self.engine, self.probe = name, engine, Probe(url, self)
        self.replayed = self.covered = self.timeline = 0
        self.asked = self.unsettled = 0.0
        """When the latest question with a known position began; when the latest answer without one had arrived."""
        self.connections: WeakSet[TrackedConnection] = WeakSet()
        self.last = ""

    @property
    def position(self) -> Position:
        return Position(self.timeline, self.covered)

    @property
    def is_settled(self) -> bool:
        """Return whether `covered` covers all answers so far."""
        return self.unsettled <= self.asked

    def note(self, state: str, started: float) -> None:
        """Note the state that a statement has read, which began at this moment."""
        self.asked = max(self.asked, started)
        if state != self.last:
            self.last = state
            self.read(state)

    def read(self, state: str) -> None:
        raise AssertionError

    def fail(self) -> None:
        """Note that the server has not accepted a connection, or has lost one."""

    def terminate(self) -> None:
        """Break all connections, whose statements then fail at once, and are repeated elsewhere."""
        for connection in list(self.connections):
            connection.terminate()


class Primary(Server):
    """The primary, and when it had which position."""

    def __init__(self, name: str, url: URL, engine: AsyncEngine) -> None:
        super().__init__(name, url, engine)
        self.samples: list[int] = []
        self.moments: list[float] = []

    def read(self, state: str) -> None:
        if not state.startswith("!"):
            return  # it has become a standby, and will be found elsewhere
        lsn, timeline = state[1:].split(" ")
        if int(timeline, 16) != self.timeline:
            self.timeline, self.covered = int(timeline, 16), 0
            self.samples, self.moments = [], []
        self.covered = max(self.covered, number_of(lsn))

    def sample(self) -> None:
        """Remember the position of this moment, from which the lag of standbys is measured."""
        if not self.samples or self.covered > self.samples[-1]:
            self.samples.append(self.covered)
            self.moments.append(time.monotonic())
        if len(self.samples) > MAX_SAMPLES:
            del self.samples[: MAX_SAMPLES // 2], self.moments[: MAX_SAMPLES // 2]

    def lag_of(self, replayed: int) -> float:
        """Return the seconds since the primary was first seen to be further than this."""
        following = bisect_right(self.samples, replayed)
        return time.monotonic() - self.moments[following] if following < len(self.samples) else 0.0


class Standby(Server):
    """A standby: whether reads go there, and how long its answers take."""

    state = reported = UNREACHABLE
    """`reported`: the state that was logged last."""
    identity = ""
    """The moment of its start: after another start it may have replayed less."""
    lag = resting_until = 0.0
    seconds = 0.001
    """The mean time of its answers."""

    @property
    def is_usable(self) -> bool:
        return self.state == OK and time.monotonic() >= self.resting_until

    @property
    def load(self) -> float:
        """The expected time of another read: the time of an answer, for each read that it serves now."""
        pool: Any = self.engine.sync_engine.pool
        return float(self.seconds * (1 + pool.checkedout()))

    def has(self, position: Position | None) -> bool:
        """Return whether every statement from now on sees this position."""
        return position is None or (position.timeline == self.timeline and position.lsn <= self.replayed)

    def note(self, state: str, started: float) -> None:
        super().note(state, started)
        self.seconds += SMOOTHING * (time.monotonic() - started - self.seconds)

    def read(self, state: str) -> None:
        if state.startswith("!"):  # it was promoted: no position of another standby is comparable
            self.state, self.timeline = PRIMARY, 0
            return
        replayed, received = map(number_of, state.split(" "))
        self.replayed = max(self.replayed, replayed)
        self.covered = max(self.covered, replayed, received)

    def identify(self, identity: str) -> None:
        """Forget what was replayed if the server has started again."""
        if identity != self.identity:
            self.identity, self.replayed, self.timeline, self.last = identity, 0, 0, ""

    def judge(self, primary: Primary, max_lag: float) -> str:
        """Return the state of a standby that was reached."""
        self.lag = primary.lag_of(self.replayed)
        if self.timeline == 0:
            return PRIMARY
        if primary.timeline not in (0, self.timeline):
            return OTHER_TIMELINE
        return LAGGING if self.lag > max_lag else OK

    def fail(self) -> None:
        self.state = UNREACHABLE
        self.probe.wake.set()

    def rest(self, seconds: float = REST_SECONDS) -> None:
        self.resting_until = time.monotonic() + seconds
