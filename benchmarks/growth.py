"""How the cost of requests grows with the table: `make bench-growth`, in some minutes.

Median latencies of our service as in production, one request at a time, with 10,000, 100,000 and 1,000,000 heroes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks import database, machine, terminal
from benchmarks.contestants import OURS
from benchmarks.curves import svg
from benchmarks.loads import POST
from benchmarks.report import table
from benchmarks.server import Server, started
from benchmarks.targets import ENGINES
from benchmarks.tokens import logged_in

HERE = Path(__file__).parent
SIZES = (10_000, 100_000, 1_000_000)
TIMES = 41
Figures = dict[str, dict[str, dict[str, float]]]
"""The milliseconds of each request, by engine and by the number of heroes (text, as keys of JSON are)."""


def requests(client: httpx.Client, rows: int) -> dict[str, Callable[[int], httpx.Response]]:
    """Return the requests, each as a function of its number."""
    first = "/heroes/?limit=100"
    late = client.get(f"{first}&offset={rows - 300}").raise_for_status().headers["link"]
    cursor = late.partition("<")[2].partition(">")[0]
    return {
        "GET": lambda number: client.get(f"/heroes/{1 + number * 7919 % rows}"),
        "page 1": lambda _: client.get(first),
        "last page, cursor": lambda _: client.get(cursor),
        "q": lambda number: client.get(f"{first}&q=Lantern {number}"),
        "q, no match": lambda number: client.get(f"{first}&q=nobody {number}"),
        "POST": lambda _: client.post("/heroes/", json=POST),
    }


def median(request: Callable[[int], httpx.Response], times: int = TIMES) -> float:
    """Return the median latency of a request after one that warms up, in milliseconds."""
    taken = []
    for number in range(times + 1):
        begun = time.perf_counter()
        request(number).raise_for_status()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken[1:])


@contextmanager
def filled(engine: str, rows: int, folder: Path) -> Iterator[str]:
    """Yield the URL of a filled database."""
    if engine == "postgresql":
        with database.postgres(rows) as server:
            yield server.url
    else:
        database.sqlite_file(folder / "base.sqlite", rows)
        yield f"sqlite:///{folder / 'base.sqlite'}"


def measured(engine: str, rows: int) -> dict[str, float]:
    """Return the median latencies with so many heroes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heroes-")))
        url = stack.enter_context(filled(engine, rows, folder))
        server = Server(OURS, url, folder / "log")
        stack.enter_context(started([server]))
        (token,) = logged_in(server.url, many=1).superusers
        headers = {"Authorization": f"Bearer {token}"}
        client = stack.enter_context(httpx.Client(base_url=server.url, headers=headers, timeout=60))
        return {name: median(request) for name, request in requests(client, rows).items()}


def markdown(figures: Figures) -> str:
    """Return the table: milliseconds for each number of heroes, and how much the last is of the first."""
    lines = ["# Growth", "", "![Latency by the number of heroes](growth.svg)", ""]
    for engine, by_size in figures.items():
        sizes = list(by_size)
        head = ["median ms", *[f"{int(size):,} heroes" for size in sizes], "last / first"]
        rows = []
        for name in by_size[sizes[0]]:
            values = [by_size[size][name] for size in sizes]
            rows.append([name, *[f"{value:.1f}" for value in values], f"{values[-1] / values[0]:.1f}"])
        lines += [f"## {ENGINES[engine]}", "", *table(head, rows)]
    return "\n".join(lines)


def write(figures: Figures, folder: Path) -> None:
    (folder / "growth.md").write_text(markdown(figures))
    (folder / "growth.svg").write_text(svg({ENGINES[engine]: by_size for engine, by_size in figures.items()}))


def run(sizes: Sequence[int], folder: Path) -> None:
    """Measure, and write the figures and the chart into a folder."""
    figures: Figures = {}
    with terminal.progress() as progress:
        task = progress.add_task("", total=len(ENGINES) * sum(sizes))
        for engine in ENGINES:
            figures[engine] = {}
            for rows in sizes:
                progress.update(task, description=f"{engine} with {rows:,} heroes")
                figures[engine][str(rows)] = measured(engine, rows)
                progress.advance(task, rows)
    folder.mkdir(exist_ok=True)
    (folder / "growth.json").write_text(json.dumps(figures) + "\n")
    write(figures, folder)
    terminal.say(markdown(figures))


def main() -> str | None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=lambda text: tuple(map(int, text.split(","))), default=SIZES)
    parser.add_argument("--render", type=Path, metavar="JSON", help="only write table and chart of stored figures")
    given = parser.parse_args()
    if given.render:
        write(json.loads(given.render.read_text()), given.render.parent)
        return None
    if sentence := machine.missing():
        return sentence
    machine.stay_off_the_servers_core()
    run(given.sizes, HERE if given.sizes == SIZES else machine.PROJECT / "build")
    return None


if __name__ == "__main__":
    sys.exit(main())
