"""Rounds: each contestant of a group runs once in a round, so that other load on the machine affects all equally."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

STALLED = "stalled"


@dataclass(frozen=True)
class Sample:
    """The result of one run."""

    rate: float
    """Requests per second; rows per second where a request writes many."""
    p50: float
    p99: float
    """Latencies, in milliseconds."""
    errors: int
    memory: float
    """The resident memory of the server, in megabytes."""
    busy: float
    """The server's share of its core."""
    server: float
    database: float
    """The processor time of the server and of PostgreSQL, in microseconds per request, or per row."""
    received: float
    """The bytes of a response with its headers; per row where a request writes many."""


@dataclass(frozen=True)
class Ratio:
    """The ratio of the medians of two contestants, and the minimum and maximum ratio within a round."""

    value: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.value == float("inf"):
            return "–"
        return f"{number(self.value)} ({number(self.least)}–{number(self.most)})"


@dataclass
class Group:
    """A load over some connections, and the rounds in which its contestants ran.

    A contestant is named `ours`, or `ours:cursor-first` for another load than that of the group.
    """

    engine: str
    load: str
    connections: int
    contestants: list[str]
    rounds: list[dict[str, Sample]] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.engine, self.load, self.connections

    def values(self, name: str, metric: str) -> list[float]:
        return [getattr(samples[name], metric) for samples in self.rounds if name in samples]

    def has(self, name: str) -> bool:
        return bool(self.values(name, "rate"))

    def median(self, name: str, metric: str) -> float:
        return statistics.median(self.values(name, metric))

    def stalls(self, name: str) -> int:
        """Return the number of rounds in which a contestant answered nothing."""
        return self.values(name, "rate").count(0)

    def ratio(self, name: str, other: str, metric: str = "rate") -> Ratio:
        """Return a metric of one contestant divided by that of the other; infinite if the other stalled."""
        pairs = list(zip(self.values(name, metric), self.values(other, metric), strict=True))
        each = [quotient(mine, theirs) for mine, theirs in pairs]
        return Ratio(quotient(self.median(name, metric), self.median(other, metric)), min(each), max(each))

    def as_json(self) -> dict[str, Any]:
        rounds = [
            {name: [round(one, 3) for one in astuple(sample)] for name, sample in done.items()} for done in self.rounds
        ]
        return asdict(self) | {"rounds": rounds}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Group":
        rounds = [{name: Sample(*values) for name, values in samples.items()} for samples in stored["rounds"]]
        return cls(**{**stored, "rounds": rounds})


def rounded(sample: Sample) -> list[float]:
    return [round(value, 3) for value in astuple(sample)]


def order(contestants: Sequence[str], turn: int) -> Iterator[str]:
    """Yield the contestants in the order of a round: rotated by `turn`, so that rounds start with different ones."""
    start = turn % len(contestants)
    yield from (*contestants[start:], *contestants[:start])


def quotient(mine: float, theirs: float) -> float:
    return mine / theirs if theirs else float("inf")


def number(ratio: float) -> str:
    """Return a ratio with its significant digits."""
    if ratio == float("inf"):
        return "–"
    return f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"
