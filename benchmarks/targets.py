"""Targets: bounds for the ratios of our service to its peers."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.rounds import Contest, number

PYTHON_PEERS = ("seed", "litestar", "ninja", "template", "fastcrud")
"""The peers that are Python frameworks: `limit` is not a framework, `fastify` is not Python."""


@dataclass(frozen=True)
class Target:
    """The smallest wanted ratio of our request rate to that of a peer, for one load."""

    load: str
    peer: str
    bound: float
    connections: int = 32
    engine: str = "postgresql"
    metric: str = "rate"

    @property
    def at_most(self) -> bool:
        """Whether the bound is an upper one: for latencies; for rates it is a lower one."""
        return self.metric != "rate"

    def reached(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def wanted(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Verdict:
    """A target and its measurement."""

    target: Target
    ratio: float

    @property
    def said(self) -> str:
        return "reached" if self.target.reached(self.ratio) else "missed"


TARGETS = (
    Target("get", "seed", 6),
    Target("get", "limit", 0.9),
    Target("list-same", "seed", 8),
    Target("list-same", "limit", 1),
    Target("list", "seed", 4),
    Target("list", "limit", 0.5),
    Target("posts", "seed", 4),
    Target("post", "seed", 2),
    Target("post", "limit", 0.3),
    Target("patch", "seed", 1.7),
    Target("bulk", "post", 10),
    Target("bulk", "limit", 0.4),
    Target("cursor", "cursor-first", 1.2, metric="p50"),
    Target("mixed", "seed", 0.3, connections=100, metric="p99"),
    Target("get", "seed", 1.3, connections=1),
    Target("get", "seed", 3, engine="sqlite"),
    Target("list", "seed", 3, engine="sqlite"),
    Target("post", "seed", 2, engine="sqlite"),
)


def verdicts(contests: Iterable[Contest]) -> list[Verdict]:
    """Return the verdicts on the measured targets."""
    held = {(one.load, one.peer, one.connections, one.engine): one for one in contests if one.pairs}
    found = [(target, held.get((target.load, target.peer, target.connections, target.engine))) for target in TARGETS]
    return [Verdict(target, contest.ratio(target.metric).median) for target, contest in found if contest]


def slower(contests: Iterable[Contest]) -> list[str]:
    """Return the loads at which a Python peer was at least as fast as our service."""
    lost = [one for one in contests if one.peer in PYTHON_PEERS and one.pairs and one.ratio().median <= 1]
    return [
        f"{one.load} at {one.connections} on {one.engine}, {one.peer} ({number(one.ratio().median)})" for one in lost
    ]
