"""Quotes: the figures of the report on other pages, each behind a comment that names it.

`<!--get: ours/seed-->6.0` is the rate of our service as in production divided by that of `seed`, at the load `get` on
PostgreSQL over 32 connections. `python -m benchmarks --render benchmarks/results.json` writes all of them anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contestants import OURS
from benchmarks.loads import LOADS

PROJECT = Path(__file__).parents[1]
REPORT = PROJECT / "benchmarks/results.md"
QUOTE = re.compile(r"<!--([a-z-]+): ([a-z-]+)/([a-z-]+)-->(\d+(?:\.\d+)?)")
"""The load, the two contestants, and the figure."""
LEAD = re.compile(r"(<!--lead-->).*?(?=<!--/lead-->)", re.DOTALL)
"""The sentence of the report that says whether a Python framework was faster."""
SAID = re.compile(
    r"^(No Python peer|No Python framework with an ORM|A Python framework with an ORM) was faster.*?(?=\.(?:\s|$))",
    re.MULTILINE,
)


def pages() -> list[Path]:
    return [page for page in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")) if QUOTE.search(page.read_text())]


def report_rows(report: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the table of PostgreSQL, by its columns."""
    head: list[str] = []
    for line in report.partition("## PostgreSQL")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "load":
            head = cells
        elif len(cells) == len(head) and not cells[0].startswith("---"):
            yield dict(zip(head, cells, strict=True))


def measured(report: str, load: str, contestant: str, other: str) -> str:
    """Return the ratio of the rates of two contestants, one of them ours, with one digit after the point."""
    peer = other if contestant == OURS else contestant
    for row in report_rows(report):
        if (row["load"], row["connections"], row["against"]) == (LOADS[load].title, "32", peer):
            ratio = float(row["ratio"].partition(" ")[0])
            return f"{ratio if contestant == OURS else 1 / ratio:.1f}"
    raise KeyError(f"The report has no row of {load} against {peer}.")


def corrected(text: str, report: str) -> str:
    """Return the text of a page with the figures of the report."""

    def quote(found: re.Match[str]) -> str:
        load, contestant, other, figure = found.groups()
        return found[0].removesuffix(figure) + measured(report, load, contestant, other)

    return LEAD.sub(lambda found: found[1] + lead(report), QUOTE.sub(quote, text))


def lead(report: str) -> str:
    """Return the part of a sentence that says whether a Python framework with an ORM was faster."""
    found = SAID.search(report)
    return found[0][0].lower() + found[0][1:] if found else ""


def update() -> list[str]:
    """Write the figures of the report into the pages that quote it. Returns the pages that have changed."""
    report, changed = REPORT.read_text(), []
    for page in pages():
        text = page.read_text()
        if (new := corrected(text, report)) != text:
            page.write_text(new)
            changed.append(page.name)
    return changed
