"""The curves: numbers of the log as charts, drawn for every reader and made interactive by assets/report.js."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.report.drawing import drawing
from asterism.report.markup import COLOURS, Html, join, section, tag
from asterism.storage.run_folder import Run

POINTS = 400  # Points per curve; a longer log is averaged down to it.
SCORES, RATES = "scores", "learning rate"
Curves = dict[tuple[str, str, int], list[tuple[int, float]]]
"""(update, term, number of the run) to (step, value); scores and learning rates stand as updates of those names."""


def charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what is drawn: of one run a chart per update with its terms, of several a chart per term with the runs.

    Scores have a chart for each metric, since their units differ, and come first; learning rates come last.

    Returns:
        Charts as JSON: `title`, `unit`, `series` of `name`, `colour` and `points` (step, value), and `marks`, the steps of
        the best checkpoints.
    """
    found = _read(runs)
    updates = sorted(dict.fromkeys(u for u, _, _ in found), key=lambda u: (u != SCORES, u == RATES))
    made = []
    for update in updates:
        terms = list(dict.fromkeys(term for u, term, _ in found if u == update))
        if len(runs) == 1 and update != SCORES:
            series = [_series(i, term, found[update, term, 0]) for i, term in enumerate(terms)]
            made.append({"part": "losses", "title": update, "unit": "", "series": series, "marks": []})
            continue
        for term in terms:
            series = [
                _series(i, run.name if len(runs) > 1 else term, found[update, term, i])
                for i, run in enumerate(runs)
                if (update, term, i) in found
            ]
            is_score = update == SCORES
            made.append(
                {
                    "part": "scores" if is_score else "losses",
                    "title": term if is_score else f"{update}: {term}",
                    "unit": _unit(term, runs) if is_score else "",
                    "series": series,
                    "marks": _best(runs) if is_score else [],
                }
            )
    return made


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


def _series(colour: int, name: str, points: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return {"name": name, "colour": colour % COLOURS, "points": _thin(points)}


def _thin(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Average neighbours until at most POINTS are left; a point stands at its last step."""
    size = math.ceil(len(points) / POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(group[-1][0], float(f"{statistics.fmean(value for _, value in group):.5g}")) for group in groups]


def _unit(metric: str, runs: Sequence[Run]) -> str:
    """Return a metric's unit as a record of scores states it; the log has values only."""
    stated = (record["metrics"].get(metric, {}) for run in runs for record in run.scores.values())
    return next((about["unit"] for about in stated if about), "")


def _best(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the steps whose weights were kept by a criterion, where one was."""
    return [
        {"step": info["step"], "name": f"best by {info['criterion']}", "colour": number % COLOURS}
        for number, run in enumerate(runs)
        if (info := run.model.get("info", {})).get("criterion")
    ]


def curves(drawn: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> Html:
    """Return the charts of `charts`, in its order."""
    lines = "One chart per update, a line per term of its loss" if len(runs) == 1 else "One chart per term, a line per run"
    leads = {
        "scores": "Scores over training, of few validation pictures: they follow a run, and compare with no others.",
        "losses": f"{lines}, before weighting.",
    }
    if any(chart["marks"] for chart in drawn):
        leads["scores"] += " A dashed line stands at the checkpoint that was kept as the best."
    parts = []
    for part, lead in leads.items():
        figures = [_figure(chart) for chart in drawn if chart["part"] == part]
        if figures:
            parts += [tag("p", lead, class_="lead"), tag("div", join(figures), class_="charts")]
    return section("curves", "Curves", "", *parts)


def _figure(chart: Mapping[str, Any]) -> Html:
    names = [
        tag("span", tag("i", class_="swatch", style=f"--colour:var(--c{series['colour']})"), series["name"])
        for series in chart["series"]
    ]
    own = [series["name"] for series in chart["series"]] == [chart["title"]]  # The title says it all.
    legend = [] if own else [tag("div", *names, class_="legend")]
    return tag("figure", tag("figcaption", tag("span", chart["title"])), drawing(chart), *legend, class_="chart")
