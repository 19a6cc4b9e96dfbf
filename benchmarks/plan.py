"""The plan: the groups of a run, and its duration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.contestants import BARE, CONTESTANTS, OURS, WITH_LOG, WITH_TOKEN
from benchmarks.loads import LOADS
from benchmarks.rounds import Group

WARM_UP = 1
"""Seconds of warm-up for each contestant before a group is measured."""
PAUSE = 0.35
"""The approximate overhead of a run, in seconds."""
PREPARING = {"postgresql": 170, "sqlite": 75}
"""The approximate time to fill a database with a million heroes, and to start and compare the servers, in seconds."""
CORE = ("seed", "limit")
"""The peers that also run the less important loads."""
EVERYBODY = (("get", 32), ("list-same", 32), ("list", 32), ("post", 32), ("patch", 32), ("bulk", 32))
SOME = (("get", 1), ("filtered", 32), ("posts", 32), ("mixed", 32), ("mixed", 100))
ALONE = (("cursor", 32),)
ON_SQLITE = (("get", 32), ("list", 32), ("post", 32), ("patch", 32))
CURSORS = [OURS, f"{OURS}:cursor-first"]


@dataclass(frozen=True)
class Plan:
    """The extent of a run."""

    engines: Sequence[str] = ("postgresql", "sqlite")
    peers: Sequence[str] = ()
    loads: Sequence[str] = ()
    """The names of the loads; all if empty."""
    connections: Sequence[int] = (1, 32, 100)
    rounds: int = 4
    seconds: int = 1
    heroes: int = 1_000_000

    def servers(self, engine: str) -> list[str]:
        """Return all contestants that are measured on this engine."""
        if engine == "sqlite":
            return [OURS, BARE, *(peer for peer in self.peers if CONTESTANTS[peer].on_sqlite)]
        return [OURS, BARE, WITH_TOKEN, WITH_LOG, *self.peers]

    def groups(self, engine: str) -> Iterator[Group]:
        """Yield the groups of an engine, without results. Only `get` measures the cost of tokens and log lines."""
        for load, connections in ON_SQLITE if engine == "sqlite" else (*EVERYBODY, *SOME, *ALONE):
            if (self.loads and load not in self.loads) or connections not in self.connections:
                continue
            yield Group(engine, load, connections, self.contestants(engine, load, connections))

    def contestants(self, engine: str, load: str, connections: int) -> list[str]:
        if (load, connections) in ALONE:
            return list(CURSORS)
        peers = [name for name in self.servers(engine) if name in self.peers]
        if engine == "postgresql" and (load, connections) in SOME:
            peers = [peer for peer in peers if peer in CORE]
        costs = [WITH_TOKEN, WITH_LOG] if (engine, load, connections) == ("postgresql", "get", 32) else []
        return [OURS, BARE, *costs, *peers]

    def remaining(self, group: Group) -> float:
        """Return the duration of the missing rounds of a group, in seconds."""
        if len(group.rounds) >= self.rounds:
            return 0
        run = LOADS[group.load].seconds(self.seconds) + PAUSE
        rounds = self.rounds - len(group.rounds)
        return len(group.contestants) * (WARM_UP + PAUSE + rounds * run)

    def duration(self, done: Sequence[Group] = ()) -> float:
        """Return the remaining duration of a run in seconds, given the groups with the rounds that are done."""
        held = {group.key: group for group in done}
        total = 0.0
        for engine in self.engines:
            measuring = sum(self.remaining(held.get(group.key, group)) for group in self.groups(engine))
            total += measuring + (preparing(engine, self.heroes) if measuring else 0)
        return total


def preparing(engine: str, heroes: int) -> float:
    """Return the approximate time to prepare an engine, in seconds. A quarter of it is independent of the rows."""
    return PREPARING[engine] * (0.25 + 0.75 * heroes / 1_000_000)


QUICK = Plan(
    engines=("postgresql",),
    peers=CORE,
    loads=("get", "list-same", "list", "post", "patch"),
    connections=(32,),
    rounds=3,
    heroes=100_000,
)
