"""Compares the speed of this commit and the one before: `make bench-before`. Fails if a load has become slower.

It compares the processor time per request with production settings, because other load on the machine affects it less
than the rate of requests. The runs of both versions alternate.
"""

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg

from benchmarks import machine
from benchmarks.arena import drive
from benchmarks.database import empty_postgres
from benchmarks.loads import LOADS, Choices
from benchmarks.rounds import order
from benchmarks.server import Server
from benchmarks.tokens import Tokens
from benchmarks.versions import BEFORE, NOW, ROWS, VersionError, checked_out, commit_before, git, logged_in, running

WORST = 0.85
"""The minimum speed, as a ratio to the speed of the commit before."""
TRIES, ROUNDS, SECONDS, CONNECTIONS = 3, 3, 1, 32
ENGINES = {"postgresql": ("get", "list", "post", "patch"), "sqlite": ("get", "post")}


@dataclass(frozen=True)
class Comparison:
    """For each try, the ratio of the speed at a load to that of the commit before."""

    what: str
    tries: tuple[float, ...]

    @property
    def slower(self) -> bool:
        return self.tries[-1] < WORST

    def __str__(self) -> str:
        tries = ", ".join(f"{speed:.2f}" for speed in self.tries)
        return f"{'SLOWER' if self.slower else 'ok':<7} {self.what}: {tries} of the speed before"


def compared(what: str, measure: Callable[[], float]) -> Comparison:
    """Measure up to `TRIES` times, until the ratio is at least `WORST`."""
    tries: list[float] = []
    while len(tries) < TRIES and (not tries or tries[-1] < WORST):
        tries.append(measure())
    return Comparison(what, tuple(tries))


@dataclass
class Match:
    """The servers of both versions on one engine."""

    servers: dict[str, Server]
    tokens: dict[str, Tokens]
    seed: int = 0

    def microseconds(self, name: str, load: str) -> float:
        """Return the processor time of one request, in microseconds, with this version of the service."""
        server, self.seed = self.servers[name], self.seed + 1
        tokens = self.tokens[name].of(LOADS[load], CONNECTIONS)
        before = server.cpu()
        outcome = drive(server, LOADS[load], Choices(ROWS, self.seed, tokens=tokens), CONNECTIONS, SECONDS)
        server.settle()
        if not outcome.done or outcome.errors:
            raise VersionError(name, f"{LOADS[load].title} was answered with errors")
        return (server.cpu() - before) / outcome.done * 1e6

    def speed(self, load: str) -> float:
        """Return the speed divided by that of the commit before: the ratio of their medians of `ROUNDS` rounds."""
        taken = [{name: self.microseconds(name, load) for name in order((BEFORE, NOW), turn)} for turn in range(ROUNDS)]
        before, now = (statistics.median(one[name] for one in taken) for name in (BEFORE, NOW))
        sys.stdout.write(f"        {load}: {before:.0f} µs before, {now:.0f} µs now\n")
        return before / now


@contextmanager
def databases(engine: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URL of a database for each version."""
    if engine == "sqlite":
        yield {name: f"sqlite:///{folder}/{name}.db" for name in (BEFORE, NOW)}
        return
    with empty_postgres() as (url, _):
        yield {name: asyncio.run(new_database(url, name)) for name in (BEFORE, NOW)}


async def new_database(url: str, name: str) -> str:
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}_commit")
    await connection.close()
    base, _, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}_commit?{query}"


def compare(before: Path, folder: Path) -> list[Comparison]:
    """Return the comparisons of all loads with the version in a folder."""
    found = []
    for engine, loads in ENGINES.items():
        with ExitStack() as stack:
            urls = stack.enter_context(databases(engine, folder))
            servers = stack.enter_context(running({BEFORE: before, NOW: machine.PROJECT}, urls, folder))
            match = Match(servers, {name: logged_in(server) for name, server in servers.items()})
            for name in servers:
                match.microseconds(name, loads[0])  # a warm-up
            found += [compared(f"{engine}, {LOADS[load].title}", partial(match.speed, load)) for load in loads]
    return found


def report(comparisons: Sequence[Comparison]) -> str | None:
    """Print the comparisons. Returns a message if a load has become slower."""
    sys.stdout.write("".join(f"{comparison}\n" for comparison in comparisons))
    slower = [comparison.what for comparison in comparisons if comparison.slower]
    return f"Slower than the commit before in {TRIES} tries: {'; '.join(slower)}." if slower else None


def main() -> str | None:
    """Compare with the commit before. Returns a message if this one is slower, or does not start."""
    if sentence := machine.missing():
        return sentence
    commit, begun = commit_before(), time.monotonic()
    if not commit:
        sys.stdout.write("Not compared: there is no commit before, as in a shallow clone.\n")
        return None
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: sys.exit("Stopped."))  # stops the servers first
    machine.stay_off_the_servers_core()
    sys.stdout.write(f"Comparing with {git('log', '-1', '--format=%h %s', commit)}\n")
    if git("diff", "--name-only", commit, "--", "requirements.txt"):
        sys.stdout.write("It had other packages (requirements.txt); both versions run with those of today.\n")
    with tempfile.TemporaryDirectory(prefix="heroes-") as name, checked_out(commit, Path(name) / "commit") as before:
        try:
            comparisons = compare(before, Path(name))
        except VersionError as failure:
            if failure.name == NOW:
                return f"This version cannot be measured: {failure}"
            sys.stdout.write(f"Not compared: the commit before cannot be measured. {failure}\n")
            return None
    message = report(comparisons)
    sys.stdout.write(f"{time.monotonic() - begun:.0f} s\n")
    return message


if __name__ == "__main__":
    sys.exit(main())
