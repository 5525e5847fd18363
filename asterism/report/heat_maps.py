"""Source by target: matrices of scores as heat maps, every value readable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asterism.runs.scores import Record, metric_title
from asterism.wording import number


def heat_maps(records: Sequence[tuple[Any, Record]]) -> list[list[dict[str, Any]]]:
    """Return the matrices of records that may be compared, in rows that are to stand side by side.

    The maps of one metric share one scale. Of several records a row has those of one metric; those of one are one row.

    Args:
        records: (whose, record); a map gives back whose it is.
    """
    rows = []
    for name in dict.fromkeys(name for _, record in records for name in record.get("matrices", ())):
        held = [(whose, record) for whose, record in records if name in record.get("matrices", ())]
        about = _metric(name, held[0][1]["metrics"])
        if about["better"]:
            scale = _scale([record["matrices"][name] for _, record in held], about)
            rows.append(
                [_map(metric_title(name, record), whose, record["matrices"][name], about, *scale) for whose, record in held]
            )
    return rows if len(records) > 1 or not rows else [[one for row in rows for one in row]]


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


def _map(
    title: str, whose: Any, matrix: Mapping[str, Any], about: Mapping[str, Any], worst: float, best: float
) -> dict[str, Any]:
    """Return a heat map; its cells are (text, heat from 0, worst, to 1, best), or none where nothing was measured."""

    def cell(value: float | None) -> tuple[str, float] | None:
        if value is None or not math.isfinite(value):
            return None
        return _brief(value, about["unit"]), min(abs((value - worst) / (best - worst)), 1.0) if best != worst else 1.0

    return {
        "title": title,
        "unit": {"share": "%"}.get(about["unit"], about["unit"]),
        "whose": whose,
        "columns": matrix["columns"],
        "rows": [(name, list(map(cell, row))) for name, row in zip(matrix["rows"], matrix["values"], strict=True)],
        "worst": number(worst, about["unit"]),
        "best": number(best, about["unit"]),
    }


def _brief(value: float, unit: str) -> str:
    """Return a value in three figures, for a narrow cell; of a share the percentage without its sign."""
    value *= 100 if unit == "share" else 1
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
