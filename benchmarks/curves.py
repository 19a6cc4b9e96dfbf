"""Draws curves: an SVG with a panel for each engine, latency by the number of rows, both in logarithms."""

import math
from collections.abc import Mapping
from html import escape

from benchmarks.chart import STYLE, TEXT

WIDTH, HEIGHT, SPACE, LEFT, RIGHT, TOP, BOTTOM = 410, 300, 20, 46, 110, 34, 28
COLOURS = ("#1f9d68", "#3b82c4", "#8b6fc9", "#c08a2b", "#c2554d", "#6b7785")
LEAST, MOST = 0.1, 1000
"""The range of the latencies, in milliseconds."""
BySize = Mapping[str, Mapping[str, float]]


def height_of(milliseconds: float) -> float:
    """Return the vertical place of a latency."""
    share = math.log(min(max(milliseconds, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def apart(places: list[float], least: float = 12) -> list[float]:
    """Return the places of labels, moved down where they would overlap."""
    moved: dict[int, float] = {}
    before = -math.inf
    for number in sorted(range(len(places)), key=places.__getitem__):
        before = moved[number] = max(places[number], before + least)
    return [moved[number] for number in range(len(places))]


def panel(title: str, by_size: BySize, left: int) -> list[str]:
    """Return the panel of an engine."""
    sizes = list(by_size)
    step = (WIDTH - LEFT - RIGHT) / max(len(sizes) - 1, 1)
    across = [left + LEFT + place * step for place in range(len(sizes))]
    drawn = [f'<text x="{left}" y="14" class="title">{escape(title)}, median ms by the number of rows</text>']
    for tick in (0.1, 1, 10, 100, 1000):
        y = height_of(tick)
        drawn.append(f'<path d="M{across[0]:.0f} {y:.0f}H{across[-1]:.0f}" stroke="{TEXT}" opacity=".25"/>')
        drawn.append(f'<text x="{left + LEFT - 8}" y="{y + 4:.0f}" class="name">{tick:g}</text>')
    for x, size in zip(across, sizes, strict=True):
        drawn.append(f'<text x="{x:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{int(size):,}</text>')
    names = list(by_size[sizes[0]])
    labels = apart([height_of(by_size[sizes[-1]][name]) for name in names])
    for name, label, colour in zip(names, labels, COLOURS, strict=False):
        heights = [height_of(by_size[size][name]) for size in sizes]
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, heights, strict=True))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        text = escape(f"{name} {by_size[sizes[-1]][name]:.1f}")
        drawn.append(f'<text x="{across[-1] + 8:.0f}" y="{label + 4:.0f}" style="fill:{colour}">{text}</text>')
    return drawn


def svg(panels: Mapping[str, BySize]) -> str:
    """Return the chart, with a panel for each engine."""
    drawn = [
        line for place, title in enumerate(panels) for line in panel(title, panels[title], place * (WIDTH + SPACE))
    ]
    width = len(panels) * (WIDTH + SPACE)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}"'
    label = "Latency of requests by the number of rows"
    return "\n".join([f'{head} role="img" aria-label="{label}">', f"<style>{STYLE}</style>", *drawn, "</svg>", ""])
