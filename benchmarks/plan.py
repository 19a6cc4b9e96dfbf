"""The plan: the contests of a run, in groups that are measured together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.loads import LOADS, asked
from benchmarks.rounds import Contest
from benchmarks.server import ON_SQLITE

WARM_UP = 1
"""Seconds of warm-up for each server before a group is measured."""
PAUSE = 0.25
"""The approximate overhead of a run of wrk, in seconds."""


@dataclass(frozen=True)
class Plan:
    """The extent of a run."""

    engines: Sequence[str] = ("postgresql", "sqlite")
    peers: Sequence[str] = ()
    loads: Sequence[str] = ()
    """The loads; if empty, those of each number of connections."""
    connections: Sequence[int] = (1, 32, 100)
    rounds: int = 5
    seconds: int = 2
    heroes: int = 1_000_000

    def peers_on(self, engine: str) -> list[str]:
        return [peer for peer in self.peers if engine == "postgresql" or peer in ON_SQLITE]

    def groups(self, engine: str) -> Iterator[list[Contest]]:
        """Yield the contests with all peers, grouped by load and number of connections."""
        for connections in self.connections:
            for name in self.loads or asked(connections):
                peers = [] if LOADS[name].only_ours else self.peers_on(engine)
                itself = [LOADS[name].against_itself] if LOADS[name].against_itself else []
                group = [Contest(engine, name, connections, peer) for peer in [*peers, *itself]]
                if group:
                    yield group

    def duration(self) -> float:
        """Return the total duration of all runs, in seconds."""
        groups = [group for engine in self.engines for group in self.groups(engine)]
        warm = sum((len(group) + 1) * (WARM_UP + PAUSE) for group in groups)
        return warm + sum(
            len(group) * 2 * self.rounds * (LOADS[group[0].load].seconds(self.seconds) + PAUSE) for group in groups
        )


QUICK = Plan(
    engines=("postgresql",),
    peers=("seed", "limit"),
    loads=("get", "list-same", "list", "post"),
    connections=(32,),
    rounds=3,
    heroes=200_000,
)
