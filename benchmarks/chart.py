"""Draws the chart: an SVG with bars for our service and each peer, readable on white and on dark."""

import statistics
from collections.abc import Sequence
from html import escape

from benchmarks.loads import LOADS
from benchmarks.rounds import OURS, Contest

SHOWN = ("get", "list-same", "post")
CONNECTIONS = 32
WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 840, 90, 92, 16, 6, 44
TEXT, OUR_COLOUR, THEIR_COLOUR = "#7d8590", "#1f9d68", "#8b98a9"
"""A grey that is readable on both backgrounds, green for our service, blue grey for the others."""
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"

STYLE = f"""
text {{ font: 12px {FONT}; fill: {TEXT} }}
.title {{ font-weight: 600; font-size: 14px }}
.footer {{ font-size: 11px }}
.name {{ text-anchor: end }}
rect.ours {{ fill: {OUR_COLOUR} }}
rect.their {{ fill: {THEIR_COLOUR}; opacity: .55 }}
text.ours {{ fill: {OUR_COLOUR}; font-weight: 600 }}
"""


def bars(contests: Sequence[Contest]) -> list[tuple[str, float]]:
    """Requests per second of our service and of each peer, the fastest first.

    A peer's bar is our rate divided by its ratio, so that the bars show the ratios and not the time of the measurement.
    """
    if not contests:
        return []
    ours = statistics.median(contest.median(0, "rate") for contest in contests)
    peers = [(contest.peer, ours / max(contest.ratio().median, 1e-9)) for contest in contests]
    return sorted([(OURS, ours), *peers], key=lambda bar: -bar[1])


def panel(title: str, values: Sequence[tuple[str, float]], top: int) -> list[str]:
    """Return the panel of one load: its title, and a bar for each server."""
    most = max(value for _, value in values)
    drawn = [f'<text x="0" y="{top + 16}" class="title">{escape(title)}</text>']
    for place, (name, value) in enumerate(values):
        y = top + HEAD - 16 + place * (BAR + GAP)
        length = max(2.0, (WIDTH - LEFT - RIGHT) * value / most)
        kind = "ours" if name == OURS else "their"
        drawn += [
            f'<text x="{LEFT - 10}" y="{y + 12}" class="name {kind}">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" class="{kind}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 12}" class="{kind}">{value:,.0f}</text>',
        ]
    return drawn


def svg(contests: Sequence[Contest], footer: str = "") -> str:
    """Return the chart of the most important loads, on PostgreSQL, with a footer about the machine."""
    drawn: list[str] = []
    top = 0
    for load in SHOWN:
        values = bars([
            one
            for one in contests
            if one.pairs and one.peer not in LOADS
            and (one.engine, one.load, one.connections) == ("postgresql", load, CONNECTIONS)
        ])  # fmt: skip
        if values:
            title = f"{LOADS[load].title}, requests a second at {CONNECTIONS} connections"
            drawn += panel(title, values, top)
            top += HEAD + len(values) * (BAR + GAP)
    if footer:
        drawn.append(f'<text x="{LEFT}" y="{top + 4}" class="footer">{escape(footer)}</text>')
        top += 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    label = "Requests a second of this service and of its peers"
    return "\n".join([f'{head} role="img" aria-label="{label}">', f"<style>{STYLE}</style>", *drawn, "</svg>", ""])
