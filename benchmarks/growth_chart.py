"""Draws the growth of the cost: an SVG with a panel for each engine, whose axes are logarithmic."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

Points = dict[str, dict[str, float]]
"""For an engine and a number of rows, as in `sqlite 10000`, the median latency of each load in milliseconds."""
TITLES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
COLOURS = {"GET": "#1f9d68", "page": "#4c8dd6", "cursor": "#8b6fd0", "q": "#c08a2b", "POST": "#d0606f"}
TEXT = "#7d8590"
"""A grey that is readable on white and on dark."""
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE = f"""
text {{ font: 11px {FONT}; fill: {TEXT} }}
.title {{ font-weight: 600; font-size: 13px }}
.axis {{ stroke: {TEXT}; stroke-opacity: .3 }}
.line {{ fill: none; stroke-width: 2 }}
"""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LABEL = 420, 260, 44, 110, 34, 34, 13
DECADES = (0.1, 1.0, 10.0, 100.0)
"""The lines of the scale, in milliseconds; more are drawn if a latency is above the last."""


def svg(points: Points, footer: str = "") -> str:
    """Return the chart of all engines that have points."""
    engines = list(dict.fromkeys(name.split()[0] for name in points))
    drawn: list[str] = []
    for place, engine in enumerate(engines):
        sizes = {int(name.split()[1]): values for name, values in points.items() if name.split()[0] == engine}
        drawn += panel(TITLES[engine], sizes, place * WIDTH)
    width, height = WIDTH * len(engines), HEIGHT + (16 if footer else 0)
    drawn += [f'<text x="0" y="{height - 4}">{escape(footer)}</text>'] if footer else []
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    label = "Median latency of five requests by the number of rows"
    return "\n".join([f'{head} role="img" aria-label="{label}">', f"<style>{STYLE}</style>", *drawn, "</svg>", ""])


def panel(title: str, sizes: Mapping[int, Mapping[str, float]], left: int) -> list[str]:
    """Return the panel of one engine: the scales, and a line for each load."""
    rows = sorted(sizes)
    highest = max(value for values in sizes.values() for value in values.values())
    decades = [*DECADES, *([10 * DECADES[-1]] if highest > DECADES[-1] else [])]

    def x(number: int) -> float:
        part = (log10(number) - log10(rows[0])) / ((log10(rows[-1]) - log10(rows[0])) or 1)
        return left + LEFT + part * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        part = log10(max(value, decades[0]) / decades[0]) / log10(decades[-1] / decades[0])
        return TOP + (1 - part) * (HEIGHT - TOP - BOTTOM)

    right = left + WIDTH - RIGHT
    drawn = [f'<text x="{left}" y="14" class="title">{title}: median latency, ms</text>']
    for decade in decades:
        drawn.append(f'<path class="axis" d="M{left + LEFT} {y(decade):.1f}H{right}"/>')
        drawn.append(f'<text x="{left + LEFT - 6}" y="{y(decade) + 4:.1f}" text-anchor="end">{decade:g}</text>')
    foot = f'y="{HEIGHT - 14}" text-anchor="middle"'
    drawn += [f'<text x="{x(number):.1f}" {foot}>{number:,} rows</text>' for number in rows]
    heights = [y(sizes[rows[-1]][name]) for name in COLOURS]
    for (name, colour), height in zip(COLOURS.items(), apart(heights), strict=True):
        path = "L".join(f"{x(number):.1f} {y(sizes[number][name]):.1f}" for number in rows)
        last = sizes[rows[-1]][name]
        drawn.append(f'<path class="line" stroke="{colour}" d="M{path}"/>')
        drawn.append(f'<text x="{right + 6}" y="{height + 4:.1f}" style="fill: {colour}">{name} {last:.2g}</text>')
    return drawn


def apart(heights: Sequence[float]) -> list[float]:
    """Return these heights in the same order, moved down until no two labels overlap."""
    placed: dict[int, float] = {}
    lowest = 0.0
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        placed[index] = lowest = max(heights[index], lowest + LABEL)
    return [placed[index] for index in range(len(heights))]
