"""The log as charts: numbers for assets/report.js, and lines as they are printed and seen where no script runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asterism.report.score_tables import Entry, comparable
from asterism.runs.folder import Run
from asterism.runs.scores import metric_title

POINTS = 400  # Points per curve; a longer log is averaged down to it.
FEW = 40  # Up to so many points are marked one by one.
COLOURS = 8  # --c0 ... of assets/report.css; a run or term has the same one everywhere.
SCORES, RATES = "scores", "learning rate"
WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 350, 8, 226
"""Where the axes of a chart stand in its box."""

Chart = dict[str, Any]
Curves = dict[tuple[str, str, int], list[tuple[int, float]]]
"""(update, term, number of the run) to (step, value); scores and learning rates stand as updates of those names."""


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the charts: of one run a chart per update with its terms, of several runs a chart per term with the runs.

    Scores have a chart for each metric, since their units differ, and come first; learning rates come last.

    Returns:
        Charts as JSON: `axis`, the word below it; `scores`, true for a chart of scores; `title`, `unit`; `series` of `name`,
        `colour` and `points` (step, value); `marks`, the steps of the best checkpoints. Those of scores against the number of
        passes, which have `passes` for steps, come last.
    """
    found = _read(runs)
    made: list[Chart] = []
    for update in sorted(dict.fromkeys(u for u, _, _ in found), key=lambda u: (u != SCORES, u == RATES)):
        terms = list(dict.fromkeys(term for u, term, _ in found if u == update))
        if update == SCORES:
            units, marks = _units(runs), _best(runs)
            made += [_chart(term, _of_runs(found, update, term, runs), units.get(term, ""), marks) for term in terms]
        elif len(runs) == 1:
            made.append(_chart(update, [_series(i, term, found[update, term, 0]) for i, term in enumerate(terms)]))
        else:
            made += [_chart(f"{update}: {term}", _of_runs(found, update, term, runs)) for term in terms]
    return made + [chart for entries in comparable(_with_curve(runs)) for chart in _repeated(entries, runs)]


def _with_curve(runs: Sequence[Run]) -> list[Entry]:
    """Return the records that hold a curve."""
    return [Entry(i, record) for i, run in enumerate(runs) for record in run.scores.values() if "curve" in record]


def _repeated(entries: Sequence[Entry], runs: Sequence[Run]) -> Iterator[Chart]:
    """Yield a chart per metric of records that compare: it against the number of passes, a line per record."""
    record = entries[0].record
    for metric, about in record["metrics"].items():
        title = metric_title(metric, record)
        lines = list[Chart]()
        for entry in entries:
            curve, several = entry.record["curve"], len({e.run for e in entries}) < len(entries)
            name = runs[entry.run].name + (f", {entry.record['checkpoint']}" if several else "")
            found = zip(curve["passes"], curve["values"].get(metric, ()), strict=False)
            points = [(count, value) for count, value in found if value is not None and math.isfinite(value)]
            if points:
                lines.append(_series(entry.run if len(runs) > 1 else len(lines), name if len(entries) > 1 else title, points))
        if lines and metric != "kid spread":
            yield _chart(title, lines, about["unit"], marks=()) | {"axis": "passes"}


def _read(runs: Sequence[Run]) -> Curves:
    found: Curves = {}
    for number, run in enumerate(runs):
        for line in run.log:
            rates = {f"{RATES}/{network}": rate for network, rate in line.get("lr", {}).items()}
            scores = {f"{SCORES}/{metric}": value for metric, value in line.get("scores", {}).items()}
            for name, value in {**line.get("terms", {}), **rates, **scores}.items():
                update, _, term = name.partition("/")
                if value is not None and math.isfinite(value):
                    found.setdefault((update, term, number), []).append((line["step"], value))
    return found


def _chart(title: str, series: list[Chart], unit: str = "", marks: Sequence[Chart] | None = None) -> Chart:
    """Return a chart; one with marks, be they none, is of scores."""
    return {"axis": "step", "scores": marks is not None, "title": title, "unit": unit, "series": series, "marks": marks or []}


def _of_runs(found: Curves, update: str, term: str, runs: Sequence[Run]) -> list[Chart]:
    names = [run.name for run in runs] if len(runs) > 1 else [term]
    return [_series(i, name, found[update, term, i]) for i, name in enumerate(names) if (update, term, i) in found]


def _series(colour: int, name: str, points: Sequence[tuple[int, float]]) -> Chart:
    """Return a curve, neighbours averaged until at most POINTS are left; a point stands at its last step."""
    size = math.ceil(len(points) / POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    thin = [(group[-1][0], float(f"{statistics.fmean(value for _, value in group):.5g}")) for group in groups]
    return {"name": name, "colour": colour % COLOURS, "points": thin}


def _units(runs: Sequence[Run]) -> dict[str, str]:
    """Return the metrics' units as the records of scores state them; the log has values only."""
    records = [record for run in runs for record in run.scores.values()]
    return {metric: about["unit"] for record in reversed(records) for metric, about in record["metrics"].items()}


def _best(runs: Sequence[Run]) -> list[Chart]:
    """Return the steps whose weights were kept by a criterion, where one was."""
    return [
        {"step": info["step"], "name": f"best by {info['criterion']}", "colour": number % COLOURS}
        for number, run in enumerate(runs)
        if (info := run.model.get("info", {})).get("criterion")
    ]


def drawing(chart: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the parts of a chart stand: the box, labelled ticks, marks, lines, and the dots of short ones."""
    points = [point for series in chart["series"] for point in series["points"]]
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    few = chart["axis"] == "passes"  # 1 and 2 of 100 would stand on top of each other.
    place = math.log1p if few else float
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (-1.0, 1.0)
    margin = (high - low) * 0.05
    low, high = low - margin, high + margin

    def x(step: float) -> float:
        along = (place(step) - place(first)) / (place(last) - place(first)) if last > first else 0.5
        return round(LEFT + (RIGHT - LEFT) * along, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    ticks = sorted({step for step, _ in points}) if few else even_ticks(first, last, 4) if last > first else [first]
    lines = []
    for series in chart["series"]:
        places = [(x(step), y(value)) for step, value in series["points"]]
        dots = places if len(places) <= FEW else []
        lines.append({"path": "M" + "L".join(f"{a} {b}" for a, b in places), "dots": dots, "colour": series["colour"]})
    return {
        **{"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        "lines": lines,
        "rows": [(y(tick), short(tick, chart["unit"]), tick == 0) for tick in even_ticks(low, high, 5)],
        "steps": [(x(tick), short(tick)) for tick in ticks],
        "marks": [(x(mark["step"]), mark["colour"]) for mark in chart["marks"] if first <= mark["step"] <= last],
    }


def even_ticks(low: float, high: float, count: int) -> Iterator[float]:
    """Yield multiples of 1, 2 or 5 times a power of ten between low and high, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    yield from (i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))


def short(value: float, unit: str = "") -> str:
    """Return a tick's label: 0.25, 25% where the unit is a share, 12k, 2M."""
    if unit == "share":
        return f"{value * 100:.3g}%"
    size = abs(value)
    if size >= 1e4:
        return f"{value / 1e6:.3g}M" if size >= 1e6 else f"{value / 1e3:.3g}k"
    return f"{value:.2g}" if 0 < size < 1e-3 else f"{value:.4g}"
