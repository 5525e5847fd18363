"""A chart as it is printed, and shown where no script runs: lines over steps, with even ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.report.markup import Html, tag

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 24
FEW = 40
"""Up to so many points are marked one by one."""


def drawing(chart: Mapping[str, Any]) -> Html:
    """Return a chart of `curves.charts` as an SVG."""
    points = [point for series in chart["series"] for point in series["points"]]
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (-1.0, 1.0)
    margin = (high - low) * 0.05
    low, high = low - margin, high + margin

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * ((step - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low), 1)

    parts = [tag("text", "step", x=0, y=HEIGHT - 5)]
    for tick in even_ticks(low, high, 5):
        parts.append(tag("line", class_="grid" if tick else "zero", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)))
        parts.append(tag("text", short(tick, chart["unit"]), x=LEFT - 8, y=y(tick) + 4, text_anchor="end"))
    for tick in even_ticks(first, last, 4) if last > first else [first]:
        parts.append(tag("text", short(tick, ""), x=x(tick), y=HEIGHT - 5, text_anchor="middle"))
    for mark in chart["marks"]:
        if first <= mark["step"] <= last:
            at, colour = x(mark["step"]), f"stroke:var(--c{mark['colour']})"
            parts.append(tag("line", class_="mark", style=colour, x1=at, x2=at, y1=TOP, y2=HEIGHT - BOTTOM))
    for series in chart["series"]:
        places = [(x(step), y(value)) for step, value in series["points"]]
        path = "M" + "L".join(f"{a} {b}" for a, b in places)
        parts.append(tag("path", class_="line", style=f"stroke:var(--c{series['colour']})", d=path))
        if len(places) <= FEW:
            parts += [tag("circle", cx=a, cy=b, r=2.4, style=f"fill:var(--c{series['colour']})") for a, b in places]
    label = f"{chart['title']}: {', '.join(series['name'] for series in chart['series'])}"
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def even_ticks(low: float, high: float, count: int) -> Sequence[float]:
    """Return multiples of 1, 2 or 5 times a power of ten between low and high, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def short(value: float, unit: str) -> str:
    """Return a tick's label: 0.25, 25% where the unit is a share, 12k, 2M."""
    if unit == "share":
        return f"{value * 100:.3g}%"
    size = abs(value)
    if size >= 1e4:
        return f"{value / 1e6:.3g}M" if size >= 1e6 else f"{value / 1e3:.3g}k"
    return f"{value:.2g}" if 0 < size < 1e-3 else f"{value:.4g}"
