"""The report: the tables, and the conditions of a run."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contestants import BARE, CONTESTANTS, FRAMEWORKS, OURS, POOL, PRODUCTION
from benchmarks.loads import LOADS
from benchmarks.machine import CORES, OTHER_CORE, SERVER_CORE, commit, processor, today, versions
from benchmarks.plan import Plan
from benchmarks.rounds import STALLED, Group, number
from benchmarks.targets import ENGINES, Verdict, slower, verdicts

HEAD = (
    "load",
    "connections",
    "against",
    "per second",
    "ratio",
    "bare ratio",
    "p50 ms",
    "p99 ms",
    "p99 / p50",
    "server µs",
    "database µs",
    "bytes",
    "errors",
    "MB",
    "core %",
)
VERDICT_HEAD = ("target", "against", "wanted", "measured", "")
EXPLAINED = """\
The first row of each load is this service as in production, with a token and a log line for each request; the second is
the same service without both. `ratio` is the rate of the first divided by that of the row, `bare ratio` that of the
second: ratios of the medians of all rounds; in brackets the least and the greatest ratio of a round. Latencies, memory
and the share of the core are medians, errors a sum. `server µs` and `database µs` are the processor time of the server
and of PostgreSQL for each request, or for each row where a request writes many; `bytes` are those of an answer with its
head, or its part for a row. A contestant that answered nothing in half of its rounds or more has *stalled*."""


def named(name: str) -> str:
    """Return the name of a contestant in a table."""
    who, _, other = name.partition(":")
    return f"{who}, {LOADS[other].title}" if other else who


def rows(group: Group) -> list[tuple[str, ...]]:
    """Return the rows of a group, one for each contestant."""
    return [row(group, name) for name in group.contestants if group.has(name)]


def row(group: Group, name: str) -> tuple[str, ...]:
    load = LOADS[group.load]
    first = (load.title, str(load.at_once(group.connections)), named(name))
    if group.median(name, "rate") == 0:
        return (*first, STALLED, *[""] * (len(HEAD) - 4))
    p50, p99 = group.median(name, "p50"), group.median(name, "p99")
    database = group.median(name, "database")
    return (
        *first,
        f"{group.median(name, 'rate'):,.0f}{stalls(group, name)}",
        "" if name == OURS else str(group.ratio(OURS, name)),
        "" if name in (OURS, BARE) or not group.has(BARE) else number(group.ratio(BARE, name).value),
        f"{p50:,.1f}",
        f"{p99:,.1f}",
        f"{p99 / p50:.1f}" if p50 else "",
        f"{group.median(name, 'server'):,.0f}",
        f"{database:,.0f}" if database else "",
        f"{group.median(name, 'received'):,.0f}",
        f"{sum(group.values(name, 'errors')):.0f}",
        f"{group.median(name, 'memory'):,.0f}",
        f"{group.median(name, 'busy'):.0%}".rstrip("%"),
    )


def stalls(group: Group, name: str) -> str:
    """Return in how many rounds a contestant stalled, if in any."""
    many = group.stalls(name)
    return f" ({STALLED} in {many} of {len(group.rounds)})" if many else ""


def verdict_row(verdict: Verdict) -> tuple[str, ...]:
    return verdict.what, verdict.against, verdict.wanted, verdict.measured, verdict.said


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)] + [""]


def comparison(groups: Sequence[Group]) -> str:
    """Return whether a Python framework was faster anywhere, and how fast asyncpg by hand is."""
    if not any(name in FRAMEWORKS for group in groups for name in group.contestants):
        return "No Python framework took part."
    sentences = ["No Python framework with an ORM was faster at any load."]
    if lost := slower(groups, has_orm=True):
        sentences = [f"A Python framework with an ORM was faster: {'; '.join(lost)}."]
    if lost := slower(groups, has_orm=False):
        sentences.append(f"Faster with SQL written by hand in a framework: {'; '.join(lost)}.")
    ratios = [
        f"{LOADS[group.load].title} {number(group.ratio('limit', OURS).value)}"
        for group in groups
        if group.engine == "postgresql" and group.connections == 32 and group.has("limit")
    ]
    if ratios:
        sentences.append(
            f"Without a framework, asyncpg by hand (`limit`) has this much of our rate: {', '.join(ratios)}."
        )
    return " ".join(sentences)


def facts(left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return what is known about the machine and its software before a run."""
    return {
        "date": today(),
        "commit": commit(),
        "processor": processor(),
        "kernel": platform.release(),
        "cores": len(CORES),
        "server_core": SERVER_CORE,
        "other_core": OTHER_CORE,
        "versions": versions(),
        "left_out": [f"{name}, because {why}" for name, why in left_out.items()],
        "settings": {"production": PRODUCTION, "pool": POOL},
        "databases": {},
        "rows": {},
        "imports": {},
    }


def footer(known: Mapping[str, Any]) -> str:
    """Return the machine and the date, in one line."""
    database = known["databases"].get("postgresql")
    return ", ".join([*[database] * bool(database), f"one worker on one core of {known['processor']}", known["date"]])


def conditions(plan: Plan, known: Mapping[str, Any]) -> list[str]:
    """Return the machine, the versions, the settings and the method."""
    own, other = known["server_core"], known["other_core"]
    machine = f"{known['processor']}, {known['cores']} cores, Linux {known['kernel']}"
    return [
        f"- {known['date']}, commit {known['commit'] or '–'}, {machine}",
        f"- {', '.join([*known['versions'], *known['databases'].values()])}",
        f"- {plan.rounds} rounds of {plan.seconds} s, by turns; {plan.heroes:,} heroes{same_rows(known['rows'])}",
        f"- core {own}: the server, one worker; core {other}: PostgreSQL, wrk with one thread, the benchmark itself",
        f"- `{OURS}`: {settings(known['settings']['production'])}, 32 users, a token for each connection "
        "(some share one if there are more), log lines into a file",
        f"- `{BARE}`: the same but `REQUIRE_AUTH=false` `LOG_LEVEL=WARNING`",
        f"- all: {settings(known['settings']['pool'])}, which is a pool of 30 connections without overflow; the "
        "garbage collector relaxed; uvicorn with uvloop and httptools, without its access log (`robyn` and `fastify` "
        "are servers themselves)",
        *[f"- left out: {name}" for name in known["left_out"]],
    ]


def settings(values: Mapping[str, str]) -> str:
    """Return settings as they are written in an environment."""
    shown = {name: "…" if name == "SECRET_KEY" else value for name, value in values.items()}
    return " ".join(f"`{name}={value}`" for name, value in shown.items())


def same_rows(checksums: Mapping[str, str]) -> str:
    """Return that both engines had the same rows, if they were compared."""
    sums = set(checksums.values())
    same = len(checksums) == 2 and len(sums) == 1
    return f", the same on both engines (SHA-256 {sums.pop()[:16]}…)" if same else ""


def markdown(plan: Plan, known: Mapping[str, Any], groups: Sequence[Group]) -> str:
    lines = ["# Results", "", *conditions(plan, known), "", comparison(groups), ""]
    judged = verdicts(groups, known["imports"])
    if judged:
        lines += ["## Targets", "", *table(VERDICT_HEAD, [verdict_row(one) for one in judged])]
    if known["imports"]:
        taken = ", ".join(f"{name} {value:.2f} s" for name, value in known["imports"].items())
        lines += [f"Processor time of an import: {taken}.", ""]
    for engine, title in ENGINES.items():
        found = [line for group in groups if group.engine == engine for line in rows(group)]
        if found:
            lines += [f"## {title}", "", *table(HEAD, found)]
    lines += [EXPLAINED, "", "## Contestants", ""]
    present = {name.partition(":")[0] for group in groups for name in group.contestants}
    lines += table(("name", "what it is"), [(name, one.what) for name, one in CONTESTANTS.items() if name in present])
    return "\n".join(lines)
