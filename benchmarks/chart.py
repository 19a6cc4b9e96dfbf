"""Draws the chart: an SVG with a panel for each load on PostgreSQL, readable on white and on dark."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.contestants import BARE, OURS, WITH_LOG, WITH_TOKEN
from benchmarks.loads import LOADS
from benchmarks.rounds import STALLED, Group

CONNECTIONS = 32
LEFT_OUT = (WITH_TOKEN, WITH_LOG)
LABELS = {OURS: "ours, production", BARE: "ours, bare", "limit": "asyncpg by hand"}
COLUMNS, WIDTH, SPACE, LEFT, RIGHT, BAR, GAP, HEAD = 2, 410, 20, 112, 62, 12, 4, 40
TEXT, OUR_COLOUR, THEIR_COLOUR, LIMIT_COLOUR = "#7d8590", "#1f9d68", "#8b98a9", "#c08a2b"
"""A grey that is readable on both backgrounds, green for our service, blue grey for the others, amber for the limit."""
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE = f"""
text {{ font: 11px {FONT}; fill: {TEXT} }}
.title {{ font-weight: 600; font-size: 13px }}
.name {{ text-anchor: end }}
rect.ours {{ fill: {OUR_COLOUR} }}
rect.bare {{ fill: {OUR_COLOUR}; opacity: .45 }}
rect.limit {{ fill: {LIMIT_COLOUR}; opacity: .7 }}
rect.their {{ fill: {THEIR_COLOUR}; opacity: .55 }}
text.ours {{ fill: {OUR_COLOUR}; font-weight: 600 }}
"""
CLASSES = {OURS: "ours", BARE: "bare", "limit": "limit"}
Bar = tuple[str, float]


def bars(group: Group) -> list[Bar]:
    """Return the rate of each contestant, the fastest first."""
    names = [name for name in group.contestants if name not in LEFT_OUT and group.has(name)]
    return sorted([(name, group.median(name, "rate")) for name in names], key=lambda bar: -bar[1])


def shown(groups: Sequence[Group]) -> Iterator[tuple[str, list[Bar]]]:
    """Yield the title and the bars of each panel: loads on PostgreSQL over `CONNECTIONS` that peers ran, too."""
    for group in groups:
        values = bars(group)
        if group.engine == "postgresql" and group.connections == CONNECTIONS and len(values) > 2:
            yield LOADS[group.load].title, values


def height(values: Sequence[Bar]) -> int:
    return HEAD + len(values) * (BAR + GAP)


def panel(title: str, values: Sequence[Bar], left: int, top: int) -> list[str]:
    """Return the panel of one load: its title, and a bar for each contestant."""
    most = max(values[0][1], 1)
    drawn = [f'<text x="{left}" y="{top + 14}" class="title">{escape(title)}, per second</text>']
    for place, (name, value) in enumerate(values):
        x, y = left + LEFT, top + HEAD - 16 + place * (BAR + GAP)
        length = max(2.0, (WIDTH - LEFT - RIGHT) * value / most)
        kind = CLASSES.get(name, "their")
        number = f"{value:,.0f}" if value else STALLED
        drawn += [
            f'<text x="{x - 8}" y="{y + 10}" class="name {kind}">{escape(LABELS.get(name, name))}</text>',
            f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" class="{kind}"/>',
            f'<text x="{x + length + 6:.1f}" y="{y + 10}" class="{kind}">{number}</text>',
        ]
    return drawn


def svg(groups: Sequence[Group], footer: str = "") -> str:
    """Return the chart of all loads over 32 connections, with a footer about the machine."""
    drawn: list[str] = []
    top, panels = 0, list(shown(groups))
    for start in range(0, len(panels), COLUMNS):
        line = panels[start : start + COLUMNS]
        for place, (title, values) in enumerate(line):
            drawn += panel(title, values, place * (WIDTH + SPACE), top)
        top += max(height(values) for _, values in line)
    if footer:
        drawn.append(f'<text x="0" y="{top + 6}">{escape(f"{CONNECTIONS} connections, {footer}")}</text>')
        top += 16
    width = COLUMNS * WIDTH + SPACE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}"'
    label = "Requests per second of this service and of its peers"
    return "\n".join([f'{head} role="img" aria-label="{label}">', f"<style>{STYLE}</style>", *drawn, "</svg>", ""])
