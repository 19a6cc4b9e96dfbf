"""The growth of the cost: the median latency of five requests at 10⁴, 10⁵ and 10⁶ rows. `make bench-growth`.

Each engine and number of rows is a point, stored when it is measured, so that a run that was interrupted continues.
One client sends requests one after another, so that no request waits for another one.
"""

import argparse
import json
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks import database, machine, terminal
from benchmarks.contestants import BARE
from benchmarks.growth_chart import Points, svg
from benchmarks.server import Server, started

ENGINES, SIZES, REQUESTS = ("postgresql", "sqlite"), (10_000, 100_000, 1_000_000), 300
WARM_UP = 20
"""The number of warm-up requests, which are not measured."""
RESULTS = machine.PROJECT / "build/growth.json"
PICTURE = machine.PROJECT / "docs/growth.svg"
PAGE = machine.PROJECT / "docs/speed.md"
MARK = "<!--growth-->"
"""The comment in the page after which the picture is inserted."""
SHOWN = f"{MARK}![Median latency by the number of rows](growth.svg)"
SEED = 7
Requests = Callable[[], httpx.Response]


def loads(client: httpx.Client, rows: int) -> Mapping[str, Requests]:
    """Return a function for each kind of request, which sends it with other values at each call."""
    chosen = random.Random(SEED)  # noqa: S311  not for security

    def one_of_many() -> int:
        return chosen.randint(1, rows)

    # several cursors, so that the request before has seldom read the same page
    after = [next_of(client, f"/heroes/?sort=power&limit=50&offset={chosen.randint(1, rows // 2)}") for _ in range(9)]
    names = [client.get(f"/heroes/{one_of_many()}").json()["name"] for _ in range(WARM_UP + REQUESTS)]
    rest = iter(names)
    return {
        "GET": lambda: client.get(f"/heroes/{one_of_many()}"),
        "page": lambda: client.get("/heroes/", params={"sort": "-power", "power__lt": one_of_many(), "limit": 50}),
        "cursor": lambda: client.get(chosen.choice(after)),
        "q": lambda: client.get("/heroes/", params={"q": next(rest)[-9:], "limit": 50}),
        "POST": lambda: client.post("/heroes/", json={"name": f"Hero {one_of_many()}", "secret_name": "Dive Wilson"}),
    }


def next_of(client: httpx.Client, path: str) -> str:
    """Return the path of the page after this one, by its link."""
    return client.get(path).raise_for_status().links["next"]["url"]


def median(ask: Requests, requests: int) -> float:
    """Return the median latency, in milliseconds."""
    for _ in range(WARM_UP):
        ask().raise_for_status()
    taken = []
    for _ in range(requests):
        start = time.perf_counter()
        ask().raise_for_status()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def measured(url: str, folder: Path, rows: int, requests: int) -> dict[str, float]:
    server = Server(BARE, url, folder / "server.log")
    with started([server]), httpx.Client(base_url=server.url, timeout=30) as client:
        return {name: median(ask, requests) for name, ask in loads(client, rows).items()}


@contextmanager
def filled(engine: str, rows: int, folder: Path) -> Iterator[str]:
    """Yield the URL of a database with this number of heroes."""
    if engine == "sqlite":
        database.sqlite_file(folder / "growth.db", rows)
        yield f"sqlite:///{folder}/growth.db"
        return
    with database.postgres(rows) as server:
        yield server.url


def points(results: Path) -> Points:
    """Return the stored medians by engine and number of rows."""
    return json.loads(results.read_text()) if results.exists() else {}


def key(engine: str, rows: int) -> str:
    return f"{engine} {rows}"


def execute(results: Path, sizes: tuple[int, ...], requests: int) -> Points:
    """Measure the missing points, those with few rows first, and store each. Returns all points."""
    found = points(results)
    wanted = [(engine, rows) for rows in sizes for engine in ENGINES]
    for number, (engine, rows) in enumerate(wanted, 1):
        if key(engine, rows) in found:
            continue
        terminal.say(f"{number} of {len(wanted)}: {engine} with {rows:,} rows")
        with tempfile.TemporaryDirectory(prefix="growth-") as folder, filled(engine, rows, Path(folder)) as url:
            found[key(engine, rows)] = measured(url, Path(folder), rows, requests)
        results.parent.mkdir(exist_ok=True)
        results.write_text(json.dumps(found, indent=1) + "\n")
    return {key(engine, rows): found[key(engine, rows)] for engine, rows in wanted}


def with_picture(page: str) -> str:
    """Return the Markdown of a page with the link to the chart after its mark."""
    return page if SHOWN in page else page.replace(MARK, SHOWN)


def footer() -> str:
    return f"one client, one request after another, {machine.processor()}, SQLite {sqlite3.sqlite_version}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of rows, as in 1000,10000")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="requests of each kind")
    parser.add_argument("--anew", action="store_true", help="measure again what was measured")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: sys.exit("Stopped. The same command continues."))  # stops the servers first
    if len(machine.CORES) > 1:
        machine.stay_off_the_servers_core()
    if given.anew:
        given.results.unlink(missing_ok=True)
    found = execute(given.results, tuple(map(int, given.sizes.split(","))), given.requests)
    given.picture.write_text(svg(found, f"{footer()}, {machine.today()}"))
    if given.picture == PICTURE:
        PAGE.write_text(with_picture(PAGE.read_text()))
    terminal.say(f"Written: {given.picture}")


if __name__ == "__main__":
    main()
