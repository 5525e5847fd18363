"""Source by target: matrices of scores as heat maps, every value readable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.report.markup import Html, breakable, join, shown, tag
from asterism.storage.run_folder import heading


def matrices(entries: Sequence[tuple[Html, Mapping[str, Any]]]) -> Html:
    """Return the matrices of records that may be compared; those of one metric share one scale.

    Args:
        entries: (title, record); the title says which of several records it is.
    """
    names = dict.fromkeys(
        name for _, record in entries for name in record.get("matrices", ()) if _metric(name, record["metrics"])["better"]
    )
    rows = []
    for name in names:
        held = [(title, record) for title, record in entries if name in record.get("matrices", ())]
        about = _metric(name, held[0][1]["metrics"])
        scale = _scale([record["matrices"][name] for _, record in held], about)
        rows.append([_heat_map(heading(name, record), title, record["matrices"][name], about, scale) for title, record in held])
    if not rows:
        return Html()
    lead = tag("p", "Rows are what a picture is, columns what it is translated to. Stronger is better.", class_="note")
    if len(entries) == 1:
        rows = [[figure for row in rows for figure in row]]
    maps = join(tag("div", join(row), class_="heats") for row in rows)  # What is to be compared stands side by side.
    return Html(tag("h4", "From each domain to each other") + lead + maps)


def _metric(name: str, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is known of a matrix's metric; a mode may follow its name, as in 'fid, latent'."""
    plain = name if name in metrics else name.rpartition(", ")[0]
    return metrics.get(plain, {"better": "higher", "unit": ""})


def _scale(shown_together: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> tuple[float, float]:
    """Return (worst, best): 0 and 1 for shares of which more is better, what occurs and 0 for others, else what occurs."""
    if about["unit"] == "share" and about["better"] == "higher":
        return 0.0, 1.0
    values = [v for m in shown_together for row in m["values"] for v in row if v is not None and math.isfinite(v)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if about["better"] == "lower":
        return high, 0.0 if about["unit"] == "share" else low
    return low, high


def _heat_map(name: str, title: Html, matrix: Mapping[str, Any], about: Mapping[str, Any], scale: tuple[float, float]) -> Html:
    worst, best = scale
    lines = []
    for source, values in zip(matrix["rows"], matrix["values"], strict=True):
        cells = []
        for value in values:
            if value is None or not math.isfinite(value):
                cells.append(tag("td", Html("<span>·</span>"), class_="none"))
                continue
            share = min(abs((value - worst) / (best - worst)), 1.0) if best != worst else 1.0
            text = (
                f"{value * 100:.0f}"
                if about["unit"] == "share" and about["better"] == "higher"
                else _brief(value, about["unit"])
            )
            cells.append(tag("td", text, class_="value", style=f"--heat:{share:.3f}"))
        lines.append(tag("tr", tag("th", breakable(source), scope="row"), *cells))
    heads = [tag("th", tag("span", breakable(target)), scope="col") for target in matrix["columns"]]
    unit = {"share": "%", "": ""}.get(about["unit"], about["unit"])
    caption = [tag("span", name, tag("small", f" {unit}") if unit else ""), *([tag("span", title)] if title else [])]
    legend = tag("p", shown(worst, about["unit"]), tag("i"), shown(best, about["unit"]), class_="ramp")
    table = tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", join(lines)))
    many = " many" if len(matrix["columns"]) > 6 else ""
    return tag(
        "figure",
        tag("figcaption", *caption, class_="heading"),
        tag("div", table, class_="scroll", tabindex=0),
        legend,
        class_="heat" + many,
    )


def _brief(value: float, unit: str) -> str:
    """Return a value in three figures, for a narrow cell; of a share the percentage without its sign."""
    value = value * 100 if unit == "share" else value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2g}"
