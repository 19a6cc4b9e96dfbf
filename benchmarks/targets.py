"""Targets: bounds for the speed of our service as in production, and whether they are reached."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contestants import BARE, CONTESTANTS, FRAMEWORKS, OURS, WITH_LOG, WITH_TOKEN
from benchmarks.loads import LOADS
from benchmarks.rounds import Group, number

AGAINST: Mapping[tuple[str, str, int], Mapping[str, float]] = {
    ("postgresql", "get", 32): {"seed": 6, "limit": 0.75},
    ("postgresql", "list-same", 32): {"seed": 12, "limit": 2},
    ("postgresql", "list", 32): {"seed": 3, "limit": 0.7},
    ("postgresql", "post", 32): {"seed": 6, "limit": 0.55},
    ("postgresql", "patch", 32): {"seed": 4, "limit": 0.5},
    ("postgresql", "bulk", 32): {"seed": 3, "limit": 0.7},
    ("postgresql", "get", 1): {"seed": 2.5, "limit": 0.8},
    ("sqlite", "get", 32): {"seed": 6},
    ("sqlite", "list", 32): {"seed": 4},
    ("sqlite", "post", 32): {"seed": 10},
    ("sqlite", "patch", 32): {"seed": 6},
}
"""The minimum ratio of our request rate to that of a peer."""
TOKEN_COST, LOG_COST = 0.10, 0.05
"""The maximum part of the rate of GETs that tokens may cost, and that log lines may cost."""
P99 = 3
"""The maximum ratio of the p99 latency to the median latency, over 32 connections."""
IMPORT = 1.5
"""The maximum ratio of the processor time to import `main` to that of `seed`."""
CURSOR = 1.2
"""The maximum ratio of the median latency of page 10,000 to that of page 1."""
ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


@dataclass(frozen=True)
class Verdict:
    """A target, and what was measured."""

    what: str
    against: str
    wanted: str
    measured: str
    reached: bool

    @property
    def said(self) -> str:
        return "reached" if self.reached else "missed"


def at_least(what: str, against: str, bound: float, ratio: float) -> Verdict:
    return Verdict(what, against, f"≥ {bound:g}", number(ratio), ratio >= bound)


def at_most(
    what: str, against: str, bound: float, value: float, shown: Callable[[float], str] = lambda value: f"{value:.2f}"
) -> Verdict:
    return Verdict(what, against, f"≤ {shown(bound)}", shown(value), value <= bound)


def title(group: Group) -> str:
    connections = LOADS[group.load].at_once(group.connections)
    plural = "s" if connections > 1 else ""
    return f"{LOADS[group.load].title}, {connections} connection{plural}, {ENGINES[group.engine]}"


def verdicts(groups: Sequence[Group], imports: Mapping[str, float]) -> list[Verdict]:
    """Return the verdicts on the measured targets."""
    held = {group.key: group for group in groups if group.rounds}
    found = [verdict for group in held.values() for verdict in against_peers(group)]
    if get := held.get(("postgresql", "get", 32)):
        found += costs(get)
    if cursor := held.get(("postgresql", "cursor", 32)):
        found.append(
            at_most(title(cursor), "page 1, p50", CURSOR, cursor.ratio(OURS, f"{OURS}:cursor-first", "p50").value)
        )
    found += [verdict for group in held.values() if group.connections == 32 for verdict in tails(group)]
    if imports:
        found.append(at_most("import, processor time", "seed", IMPORT, imports[OURS] / imports["seed"]))
    return found


def against_peers(group: Group) -> Iterator[Verdict]:
    for peer, bound in AGAINST.get(group.key, {}).items():
        if group.has(peer):
            yield at_least(title(group), peer, bound, group.ratio(OURS, peer).value)


def costs(get: Group) -> Iterator[Verdict]:
    """Yield whether the targets for the costs of a token and of a log line are reached, one result for each."""
    for what, name, bound in (("a token", WITH_TOKEN, TOKEN_COST), ("a log line", WITH_LOG, LOG_COST)):
        if get.has(name):
            yield at_most(
                f"cost of {what}, {title(get)}", BARE, bound, 1 - get.ratio(name, BARE).value, "{:.0%}".format
            )


def tails(group: Group) -> Iterator[Verdict]:
    tail = group.median(OURS, "p99") / max(group.median(OURS, "p50"), 1e-9)
    yield at_most(f"{title(group)}, p99", "its median", P99, tail)


def slower(groups: Sequence[Group], *, has_orm: bool) -> list[str]:
    """Return the loads at which a Python framework was at least as fast as our service as in production.

    With or without an ORM: SQL by hand is another way to write a service.
    """
    names = [name for name in FRAMEWORKS if CONTESTANTS[name].has_orm == has_orm]
    lost = [
        (group, name, group.ratio(OURS, name).value)
        for group in groups
        for name in group.contestants
        if name in names and group.rounds and group.ratio(OURS, name).value <= 1
    ]
    return [f"{title(group)}: {name} ({number(ratio)})" for group, name, ratio in lost]
