"""The report: the rows of the tables, and the files with the results."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.loads import LOADS
from benchmarks.machine import CORES, OTHER_CORE, SERVER_CORE
from benchmarks.plan import Plan
from benchmarks.rounds import Contest, number
from benchmarks.targets import PYTHON_PEERS, Verdict, slower, verdicts

HEAD = ("load", "connections", "against", "per second", "ratio", "p50 ms", "p99 ms", "errors", "MB", "core %")
VERDICT_HEAD = ("target", "against", "wanted", "measured", "")
ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


def row(contest: Contest) -> tuple[str, ...]:
    """Return the row of a contest in the table. Where there are two numbers, the first is ours."""

    def both(metric: str, digits: int = 0, factor: float = 1) -> str:
        return " / ".join(f"{contest.median(side, metric) * factor:,.{digits}f}" for side in (0, 1))

    load, peer = LOADS[contest.load], contest.peer
    return (
        load.title,
        str(load.at_once(contest.connections)),
        f"ours, {LOADS[peer].title}" if peer in LOADS else peer,
        both("rate"),
        str(contest.ratio()),
        both("p50", 1),
        both("p99", 1),
        f"{contest.errors(0)} / {contest.errors(1)}",
        both("memory"),
        both("busy", factor=100),
    )


def verdict_row(verdict: Verdict) -> tuple[str, ...]:
    target = verdict.target
    what = "" if target.metric == "rate" else f", {target.metric}"
    where = ", SQLite" if target.engine == "sqlite" else ""
    connections = LOADS[target.load].at_once(target.connections)
    title = f"{LOADS[target.load].title}, {connections} connection{'s' if connections > 1 else ''}"
    against = LOADS[target.peer].title if target.peer in LOADS else target.peer
    return title + where + what, against, target.wanted(), number(verdict.ratio), verdict.said


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def comparison(contests: Sequence[Contest]) -> str:
    if not any(one.peer in PYTHON_PEERS for one in contests):
        return "No Python peer took part."
    lost = slower(contests)
    return f"A Python peer was faster at: {'; '.join(lost)}." if lost else "No Python peer was faster at anything."


def footer(facts: dict[str, Any]) -> str:
    """Return the machine and the date, in one line."""
    database = [version for version in facts["versions"] if version.startswith("PostgreSQL")]
    return ", ".join([*database, f"one worker on one core of {facts['processor']}", facts["date"]])


def conditions(plan: Plan, facts: dict[str, Any]) -> list[str]:
    """Return the machine, the versions and the method."""
    return [
        f"- {facts['date']}, {facts['processor']}, {facts['cores']} cores",
        f"- {', '.join(facts['versions'])}",
        f"- {plan.rounds} rounds of {plan.seconds} s for each pair, by turns; {plan.heroes:,} heroes",
        f"- core {facts['server_core']}: the server, one worker; core {facts['other_core']}: PostgreSQL, wrk with one "
        "thread, and the benchmark itself",
        *[f"- left out: {name}" for name in facts["left_out"]],
    ]


def facts(date: str, processor: str, versions: list[str], left_out: list[str]) -> dict[str, Any]:
    cores = {"cores": len(CORES), "server_core": SERVER_CORE, "other_core": OTHER_CORE}
    return {"date": date, "processor": processor, "versions": versions, "left_out": left_out, **cores}


def markdown(plan: Plan, facts: dict[str, Any], contests: Sequence[Contest]) -> str:
    lines = ["# Results", "", *conditions(plan, facts), ""]
    judged = verdicts(contests)
    if judged:
        lines += ["## Targets", "", *table(VERDICT_HEAD, [verdict_row(one) for one in judged])]
    lines += [comparison(contests), ""]
    for engine, title in ENGINES.items():
        rows = [row(contest) for contest in contests if contest.engine == engine and contest.pairs]
        if rows:
            lines += [f"## {title}", "", *table(HEAD, rows)]
    lines += [
        "Where there are two numbers, ours is the first. The ratio is the median of the rounds' ratios, with the least "
        "and the most; latencies, memory and the share of the core are medians, errors a sum. ∞: the other "
        "answered nothing in that time.",
        "",
    ]
    return "\n".join(lines)


def stored(plan: Plan, facts: dict[str, Any], contests: Sequence[Contest]) -> dict[str, Any]:
    """Return all measurements, as JSON."""
    return {"plan": asdict(plan), "facts": facts, "contests": [one.as_json() for one in contests]}
