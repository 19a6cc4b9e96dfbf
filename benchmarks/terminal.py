"""The terminal: progress, and the tables of results."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.report import ENGINES, HEAD, VERDICT_HEAD, comparison, row, verdict_row
from benchmarks.rounds import Contest
from benchmarks.targets import verdicts

WIDTH = 120
"""The minimum width of the tables; a narrower terminal wraps their lines."""
FOUND_IN_FILE = ("connections", "core %")
"""Columns that only results.md has, so that the others fit."""
COLOURS = {"reached": "green", "missed": "red"}
terminal = Console(highlight=False)
console = Console(highlight=False, width=max(WIDTH, terminal.width))


def progress() -> Progress:
    bar = BarColumn(bar_width=24)
    percent, what = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}")
    return Progress(percent, bar, TimeRemainingColumn(), what, console=terminal, refresh_per_second=2)


def say(sentence: str) -> None:
    terminal.print(sentence, soft_wrap=True)


def drawn(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table with right-aligned numbers, and the name of a load only where it changes."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    before = ""
    for first, *others in rows:
        table.add_row("" if first == before else first, *others)
        before = first
    return table


def short(cells: Sequence[str], first: str = HEAD[0]) -> list[str]:
    """Return a row without the columns of the file, and the load by its short name."""
    return [first, *[cell for name, cell in zip(HEAD[1:], cells[1:], strict=True) if name not in FOUND_IN_FILE]]


def results(contests: Sequence[Contest]) -> None:
    for engine, title in ENGINES.items():
        for connections in sorted({contest.connections for contest in contests}):
            held = [one for one in contests if (one.engine, one.connections) == (engine, connections) and one.pairs]
            if held:
                head = f"{title}, {connections} connection{'s' if connections > 1 else ''}"
                console.print(drawn(head, short(HEAD), [short(row(contest), contest.load) for contest in held]))


def show(contests: Sequence[Contest]) -> None:
    results(contests)
    judged = [verdict_row(verdict) for verdict in verdicts(contests)]
    if judged:
        coloured = [(*cells[:-1], f"[{COLOURS[cells[-1]]}]{cells[-1]}[/]") for cells in judged]
        console.print(drawn("Targets", VERDICT_HEAD, coloured))
    say(comparison(contests))
