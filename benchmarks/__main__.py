"""The benchmark: compares the service with others that do the same. `make bench`; `make bench QUICK=1` is shorter."""

import argparse
import json
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import chart, check, database, machine, report, terminal
from benchmarks.arena import Arena, held, serving
from benchmarks.loads import LOADS
from benchmarks.plan import QUICK, Plan
from benchmarks.rounds import OURS, Contest
from benchmarks.server import PEERS, left_out

HERE = Path(__file__).parent
PARTIAL = machine.PROJECT / "build"
"""The folder for the results of a partial run."""
FEWEST = 20_000


def listed(known: list[str]) -> Callable[[str], list[str]]:
    """Return an argument type: a comma-separated choice of these names."""

    def choice(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return names

    return choice


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two peers, four loads, under three minutes")
    parser.add_argument("--rounds", type=int, help="how often each pair meets")
    parser.add_argument("--seconds", type=int, help="how long one of the two is driven")
    parser.add_argument("--heroes", type=int, help="rows in the table")
    parser.add_argument("--peers", type=listed(list(PEERS)), help=", ".join(PEERS))
    parser.add_argument("--loads", type=listed(list(LOADS)), help=", ".join(LOADS))
    parser.add_argument("--connections", type=lambda text: [int(one) for one in text.split(",")], help="as in 1,32,100")
    parser.add_argument("--engines", type=listed(["postgresql", "sqlite"]), help="postgresql, sqlite")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only show stored results again")
    given = parser.parse_args()
    if given.heroes is not None and given.heroes < FEWEST:
        parser.error(f"at least {FEWEST:,} heroes are needed, so that every page is there")
    return given


def planned(given: argparse.Namespace) -> Plan:
    names = ("rounds", "seconds", "heroes", "peers", "loads", "connections", "engines")
    chosen = {name: value for name in names if (value := getattr(given, name)) is not None}
    return replace(QUICK if given.quick else Plan(peers=PEERS), **chosen)


def save(folder: Path, plan: Plan, facts: dict[str, Any], contests: list[Contest]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "results.md").write_text(report.markdown(plan, facts, contests))
    (folder / "results.svg").write_text(chart.svg(contests, report.footer(facts)))
    (folder / "results.json").write_text(json.dumps(report.stored(plan, facts, contests)))


def run(plan: Plan, folder: Path, facts: dict[str, Any]) -> list[Contest]:
    """Run all contests. The results are saved after each group, so that an interrupted run keeps them."""
    contests: list[Contest] = []
    with terminal.progress() as progress:
        task = progress.add_task("", total=plan.duration())
        spent = 0.0

        def tell(what: str, seconds: float) -> None:
            nonlocal spent
            progress.update(task, completed=spent, description=what)
            spent += seconds

        for engine in plan.engines:
            progress.update(task, description=f"filling {engine} with {plan.heroes:,} heroes")
            for group in contested(engine, plan, tell, facts):
                contests += group
                save(folder, plan, facts, contests)
        progress.update(task, completed=plan.duration(), description="done")
    return contests


def contested(engine: str, plan: Plan, tell: Callable[[str, float], None], facts: dict[str, Any]) -> Any:
    """Yield the groups of one engine when they are done: on a filled database, after a check of the responses."""
    names = [OURS, *plan.peers_on(engine)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heroes-")))
        if engine == "postgresql":
            url, version = stack.enter_context(database.postgres(plan.heroes))
            facts["versions"].append(f"PostgreSQL {version}")
            urls = dict.fromkeys(names, url)
        else:
            facts["versions"].append(f"SQLite {sqlite3.sqlite_version}")
            database.sqlite_file(folder / "base.sqlite", plan.heroes)
            urls = {name: database.copied(folder / "base.sqlite", name) for name in names}
        servers = stack.enter_context(serving(urls, folder))
        check.compare({name: server.url for name, server in servers.items()})
        yield from held(Arena(servers, plan, tell), plan.groups(engine))


def main() -> None:
    given = arguments()
    if given.render:
        stored = json.loads(given.render.read_text())
        return terminal.show([Contest.from_json(one) for one in stored["contests"]])
    if sentence := machine.missing():
        sys.exit(sentence)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: sys.exit("Stopped."))  # stops the servers first
    machine.stay_off_the_servers_core()
    plan, folder = planned(given), PARTIAL
    if plan == Plan(peers=PEERS):
        folder = HERE
    absent = left_out(list(plan.peers))
    for name in absent:
        terminal.say(f"{name} is LEFT OUT: Node or its packages are missing; on Debian: apt install nodejs npm")
    plan = replace(plan, peers=[peer for peer in plan.peers if peer not in absent])
    facts = report.facts(machine.today(), machine.processor(), machine.versions(), absent)
    contests = run(plan, folder, facts)
    terminal.show(contests)
    terminal.say(f"Written: {folder}/results.md, results.svg, results.json")
    return None


if __name__ == "__main__":
    main()
