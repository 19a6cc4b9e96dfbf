"""Rounds: two servers run in turns, so that disturbances of the machine affect both, and are compared by ratios.

Our service runs before each peer, and the ratio of a peer is computed with that run. The result is the median of all
rounds.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.wrk import Sample

OURS = "ours"


@dataclass(frozen=True)
class Spread:
    """The median, minimum and maximum of some ratios."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.least)}–{number(self.most)})"


@dataclass
class Contest:
    """Our service against one peer at one load: a pair of runs for each round."""

    engine: str
    load: str
    connections: int
    peer: str
    pairs: list[tuple[Sample, Sample]] = field(default_factory=list)

    def ratio(self, metric: str = "rate") -> Spread:
        """Return our value divided by theirs: above 1 is faster for a rate, slower for a latency."""
        ratios = [quotient(getattr(ours, metric), getattr(theirs, metric)) for ours, theirs in self.pairs]
        return Spread(statistics.median(ratios), min(ratios), max(ratios))

    def median(self, side: int, metric: str) -> float:
        """Return the median of our runs (0) or theirs (1)."""
        values: list[float] = [getattr(pair[side], metric) for pair in self.pairs]
        return statistics.median(values)

    def errors(self, side: int) -> int:
        return sum(pair[side].errors for pair in self.pairs)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Contest":
        pairs = [(Sample(**ours), Sample(**theirs)) for ours, theirs in stored["pairs"]]
        return cls(**{**stored, "pairs": pairs})


def turns(peers: Sequence[str], rounds: int) -> Iterator[tuple[int, str, str]]:
    """Yield the order of the runs: the round, the peer, and which of the two runs."""
    for turn in range(1, rounds + 1):
        for peer in peers:
            yield turn, peer, OURS
            yield turn, peer, peer


def quotient(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("inf")


def number(ratio: float) -> str:
    """Return a ratio with its significant digits."""
    if ratio == float("inf"):
        return "∞"
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"
