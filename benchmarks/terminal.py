"""The terminal: progress, and the tables of results."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.report import HEAD, VERDICT_HEAD, comparison, rows, verdict_row
from benchmarks.rounds import Group
from benchmarks.targets import title, verdicts

WIDTH = 130
"""The minimum width of the tables; a narrower terminal wraps their lines."""
FOUND_IN_FILE = ("load", "connections", "MB", "core %")
"""Columns that only results.md has, so that the others fit."""
COLOURS = {"reached": "green", "missed": "red"}
terminal = Console(highlight=False)
console = Console(highlight=False, width=max(WIDTH, terminal.width))


def progress() -> Progress:
    bar = BarColumn(bar_width=24)
    percent, what = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}")
    columns = (percent, bar, TimeElapsedColumn(), TimeRemainingColumn(), what)
    return Progress(*columns, console=terminal, refresh_per_second=2)


def say(sentence: str) -> None:
    terminal.print(sentence, soft_wrap=True)


def drawn(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Return a table with right-aligned numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    return table


def short(cells: Sequence[str]) -> list[str]:
    """Return a row without the columns `FOUND_IN_FILE`."""
    return [cell for name, cell in zip(HEAD, cells, strict=True) if name not in FOUND_IN_FILE]


def show(groups: Sequence[Group], imports: Mapping[str, float]) -> None:
    for group in groups:
        console.print(drawn(title(group), short(HEAD), [short(line) for line in rows(group)]))
    judged = [verdict_row(verdict) for verdict in verdicts(groups, imports)]
    if judged:
        coloured = [(*cells[:-1], f"[{COLOURS[cells[-1]]}]{cells[-1]}[/]") for cells in judged]
        console.print(drawn("Targets", VERDICT_HEAD, coloured))
    say(comparison(groups))
