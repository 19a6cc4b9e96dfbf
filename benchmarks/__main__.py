"""The benchmark: compares the service with others that do the same. `make bench`; `make bench QUICK=1` is shorter.

A run that was interrupted continues when it is started again.
"""

import argparse
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress, TaskID

from benchmarks import check, database, imports, machine, report, store, terminal
from benchmarks.arena import Arena
from benchmarks.contestants import OURS, PEERS, left_out
from benchmarks.loads import LOADS
from benchmarks.plan import QUICK, Plan
from benchmarks.quotes import update
from benchmarks.rounds import Group
from benchmarks.server import Server, started
from benchmarks.store import Results
from benchmarks.tokens import Tokens, logged_in

HERE = Path(__file__).parent
BUILD = machine.PROJECT / "build"
"""The folder of results that are not complete: of interrupted runs, and of runs with selected peers or loads."""
FEWEST = 10_000
"""The minimum number of heroes: enough for all pages that the loads request."""
IMPORTS = 5
"""The number of timed imports of each contestant."""


def listed(known: list[str]) -> Callable[[str], list[str]]:
    """Return a `type` for argparse that parses a comma-separated list of these names."""

    def choice(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return names

    return choice


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two peers, five loads, under three minutes")
    parser.add_argument("--anew", action="store_true", help="do not continue an interrupted run")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs at each load")
    parser.add_argument("--seconds", type=int, help="how long it runs")
    parser.add_argument("--heroes", type=int, help="rows in the table")
    parser.add_argument("--peers", type=listed(list(PEERS)), help=", ".join(PEERS))
    parser.add_argument("--loads", type=listed(list(LOADS)), help=", ".join(LOADS))
    parser.add_argument("--connections", type=lambda text: [int(one) for one in text.split(",")], help="as in 1,32,100")
    parser.add_argument("--engines", type=listed(["postgresql", "sqlite"]), help="postgresql, sqlite")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only write report and chart of stored results")
    given = parser.parse_args()
    if given.heroes is not None and given.heroes < FEWEST:
        parser.error(f"at least {FEWEST:,} heroes are needed")
    return given


def planned(given: argparse.Namespace) -> Plan:
    names = ("rounds", "seconds", "heroes", "peers", "loads", "connections", "engines")
    chosen = {name: value for name in names if (value := getattr(given, name)) is not None}
    return replace(QUICK if given.quick else Plan(peers=PEERS), **chosen)


class Run:
    """A run, which stores its results after each round."""

    def __init__(self, results: Results, file: Path, progress: Progress) -> None:
        self.results, self.file, self.progress = results, file, progress
        self.plan = results.plan
        self.total = self.plan.duration()
        self.task: TaskID = progress.add_task("", total=self.total)
        self.show("")

    def show(self, what: str) -> None:
        """Show the current step, and how much of the run is done."""
        done = self.total - self.plan.duration(self.results.groups)
        self.progress.update(self.task, completed=done, description=what)

    def save(self) -> None:
        self.results.write(self.file)

    def execute(self) -> None:
        facts = self.results.facts
        if not facts["imports"] and not self.plan.loads:
            self.show("importing")
            facts["imports"] = imports.measured(IMPORTS)
        for engine in self.plan.engines:
            groups = [self.results.group(group) for group in self.plan.groups(engine)]
            if any(len(group.rounds) < self.plan.rounds for group in groups):
                self.show(f"filling {engine} with {self.plan.heroes:,} heroes")
                self.measure(engine, groups)
        self.show("done")

    def measure(self, engine: str, groups: list[Group]) -> None:
        """Fill a database of this engine, check the responses of all contestants, and measure each group."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heroes-")))
            urls, postmaster = self.filled(engine, folder, stack)
            self.show("starting the servers")
            servers = {name: Server(name, url, folder / f"{name}.log") for name, url in urls.items()}
            stack.enter_context(started(servers.values()))
            tokens = self.checked(servers)
            arena = Arena(servers, self.plan, tokens, self.show, postmaster)
            arena.find_page()
            for group in groups:
                for _ in arena.hold(group):
                    self.save()

    def checked(self, servers: dict[str, Server]) -> Tokens:
        """Check that all servers return equal responses. Returns tokens, which are valid on all of them."""
        tokens = logged_in(servers[OURS].url)
        check.compare(servers, tokens.superusers[0])
        return tokens

    def filled(self, engine: str, folder: Path, stack: ExitStack) -> tuple[dict[str, str], int]:
        """Return the URL of each server's filled database, and the process id of PostgreSQL; 0 on SQLite."""
        names = self.plan.servers(engine)
        if engine == "postgresql":
            server = stack.enter_context(database.postgres(self.plan.heroes))
            self.note(engine, f"PostgreSQL {server.version}", server.checksum)
            return dict.fromkeys(names, server.url), server.pid
        checksum = database.sqlite_file(folder / "base.sqlite", self.plan.heroes)
        self.note(engine, f"SQLite {sqlite3.sqlite_version}", checksum)
        return {name: database.copied(folder / "base.sqlite", name) for name in names}, 0

    def note(self, engine: str, version: str, checksum: str) -> None:
        """Store the version and the checksum of an engine. Exits if the other engine had other rows."""
        facts = self.results.facts
        facts["databases"][engine], facts["rows"][engine] = version, checksum
        if len(set(facts["rows"].values())) > 1:
            raise SystemExit(f"The engines have different rows: {facts['rows']}.")


def render(file: Path) -> None:
    """Write the report and the chart of stored results beside them, and update the pages that quote the report."""
    results = store.read(file)
    results.render(file.parent)
    terminal.show(results.measured, results.facts["imports"])
    if file.parent.resolve() == HERE:
        terminal.say(f"Updated: {', '.join(update()) or 'nothing, all figures are quoted as they are'}")
    terminal.say(f"Written: {file.parent}/results.md, results.svg")


def main() -> None:
    given = arguments()
    if given.render:
        return render(given.render)
    if sentence := machine.missing():
        sys.exit(sentence)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: sys.exit("Stopped. The same command continues."))  # stops the servers first
    machine.stay_off_the_servers_core()
    plan = planned(given)
    whole = plan == Plan(peers=PEERS)
    absent = left_out(plan.peers)
    for name, why in absent.items():
        terminal.say(f"{name} is LEFT OUT: {why}")
    plan = replace(plan, peers=[peer for peer in plan.peers if peer not in absent])
    unfinished = BUILD / "unfinished.json"
    if given.anew:
        unfinished.unlink(missing_ok=True)
    results = store.continued(unfinished, plan, report.facts(absent))
    if results.measured:
        terminal.say("An interrupted run continues; --anew begins another.")
    with terminal.progress() as progress:
        Run(results, unfinished, progress).execute()
    folder = HERE if whole else BUILD
    unfinished.replace(folder / "results.json")
    render(folder / "results.json")
    return None


if __name__ == "__main__":
    main()
