"""The effect of searches on other requests: the rate and p99 of GETs alone, and beside two clients that search.

Run it in the project's folder: `python -m benchmarks.searches`. It fills databases with a million rows, on each engine,
and serves them as in production. Each client sends its next search when it has received the response to the last one.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx

from benchmarks import machine
from benchmarks.arena import drive
from benchmarks.contestants import OURS
from benchmarks.growth import ENGINES, filled
from benchmarks.loads import LOADS, Choices
from benchmarks.server import Server, started
from benchmarks.tokens import Tokens, logged_in
from benchmarks.wrk import Outcome

CLIENTS, ROUNDS, SECONDS, CONNECTIONS, ROWS = 2, 3, 3, 32, 1_000_000
KINDS = {"searches": {}, "searches with a count": {"count": "true"}, "searches that sort": {"sort": "-power"}}
"""The parameters of each kind of search, besides `q`: three random digits."""


def search(url: str, token: str, parameters: dict[str, str], until: threading.Event, seed: int) -> None:
    """Send one search after the other until the event is set."""
    chosen, headers = random.Random(seed), {"Authorization": f"Bearer {token}"}  # noqa: S311  not for security
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        while not until.is_set():
            found = client.get("/heroes/", params={"q": str(chosen.randint(100, 999)), "limit": "50", **parameters})
            found.raise_for_status()


@contextmanager
def searching(url: str, tokens: Tokens, parameters: dict[str, str]) -> Iterator[None]:
    """Let `CLIENTS` users search, each in a thread."""
    until = threading.Event()
    users = enumerate(tokens.members[-CLIENTS:])  # they send no other requests
    threads = [threading.Thread(target=search, args=(url, token, parameters, until, seed)) for seed, token in users]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        until.set()
        for thread in threads:
            thread.join()


def line(what: str, alone: list[Outcome], beside: list[Outcome]) -> str:
    """Return the medians of both, and their ratios."""
    before, now = (statistics.median(run.done / run.seconds for run in runs) for runs in (alone, beside))
    rates = f"{before:,.0f} -> {now:,.0f} GETs per second ({now / before:.2f})"
    before, now = (statistics.median(run.p99 for run in runs) for runs in (alone, beside))
    return f"{what}: {rates}, p99 {before:.1f} -> {now:.1f} ms ({now / before:.2f})\n"


def measure(engine: str, url: str, folder: Path, rows: int) -> None:
    server = Server(OURS, url, folder / "server.log")
    with started([server]):
        tokens = logged_in(server.url)
        readers = tokens.members[:-CLIENTS]
        for kind, parameters in KINDS.items():
            found: dict[bool, list[Outcome]] = {False: [], True: []}
            for turn in range(ROUNDS):
                for is_searched in found:
                    choices = Choices(rows, seed=turn, tokens=readers)
                    with searching(server.url, tokens, parameters) if is_searched else nullcontext():
                        found[is_searched].append(drive(server, LOADS["get"], choices, CONNECTIONS, SECONDS))
            sys.stdout.write(line(f"{engine}, {CLIENTS} {kind}", found[False], found[True]))
            sys.stdout.flush()


def main() -> str | None:
    """Measure both engines. Returns a message if a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searches", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    if sentence := machine.missing():
        return sentence
    machine.stay_off_the_servers_core()
    for engine in ENGINES:
        with tempfile.TemporaryDirectory(prefix="searches-") as folder, filled(engine, rows, Path(folder)) as url:
            measure(engine, url, Path(folder), rows)
    return None


if __name__ == "__main__":
    sys.exit(main())
