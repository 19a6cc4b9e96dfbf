"""Who meets whom, at what: the contests of a run, in groups that are run by turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.loads import LOADS, asked
from benchmarks.rounds import Contest
from benchmarks.server import ON_SQLITE

WARM_UP = 1
"""Seconds for which each server is driven before a group is measured."""
PAUSE = 0.25
"""Seconds that a run of wrk takes beside its measuring, about."""


@dataclass(frozen=True)
class Plan:
    """What a run consists of."""

    engines: Sequence[str] = ("postgresql", "sqlite")
    peers: Sequence[str] = ()
    loads: Sequence[str] = ()
    """Empty for those that belong to each number of connections."""
    connections: Sequence[int] = (1, 32, 100)
    rounds: int = 5
    seconds: int = 2
    heroes: int = 1_000_000

    def peers_on(self, engine: str) -> list[str]:
        return [peer for peer in self.peers if engine == "postgresql" or peer in ON_SQLITE]

    def groups(self, engine: str) -> Iterator[list[Contest]]:
        """For each load at each number of connections, a contest with every peer, run by turns."""
        for connections in self.connections:
            for name in self.loads or asked(connections):
                peers = [] if LOADS[name].only_ours else self.peers_on(engine)
                itself = [LOADS[name].against_itself] if LOADS[name].against_itself else []
                group = [Contest(engine, name, connections, peer) for peer in [*peers, *itself]]
                if group:
                    yield group

    def duration(self) -> float:
        """Seconds of driving, all in all."""
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
