"""Build the record for scores.json from the results of a protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch

from asterism.evaluation.candidates import NAMES
from asterism.evaluation.extractors import lpips_files
from asterism.evaluation.measures import DIVERSITY, Measure, MeasureContext
from asterism.evaluation.protocols.base import Protocol
from asterism.evaluation.session import Result
from asterism.evaluation.truth_measures import LPIPS
from asterism.labels import LabelSpace

Values = dict[str, float | None]
REAL_HELD_OUT = "real held-out pictures"
"""Name of the row of real pictures if nothing is translated."""
ALL = "all targets"
"""In the name of a row of translations that is over all of them."""


def summarise(protocol: Protocol, bench: MeasureContext, results: Sequence[Result]) -> dict[str, Any]:
    """Return the parts of a record that say what was measured: metrics, rows, targets, matrices, notes; of chains a curve."""
    translated = [r for r in results if r.kind == "translated"]
    modes = list(dict.fromkeys(r.task.mode for r in translated))

    def row(name: str, kind: str, parts: list[Result]) -> dict[str, Any]:
        count = [r.counts[0] if r.task.like else len(r.task.rows) * r.task.outputs for r in parts]
        pictures = sum(n for r, n in zip(parts, count, strict=True) if not r.task.own and r.measured)
        return {"name": name, "kind": kind, "pictures": pictures, "values": _values(protocol, parts)}

    rows = []
    for mode in modes:
        parts = [r for r in translated if r.task.mode == mode]
        if not protocol.pairs:
            for choice, name in zip(bench.space.alternatives, set_names(bench.space), strict=True):
                group = [r for r in parts if r.task.index in choice]
                if group and len(group) < sum(r.task.index is not None for r in parts):  # Else they are all targets.
                    rows.append(row(f"translated, {name}", "translated", group))
        rows.append(row(parts[0].task.in_mode(f"translated, {ALL}"), "translated", parts))
    for kind in (kind for kind in NAMES if kind != "translated"):
        parts = [r for r in results if r.kind == kind]
        if parts:
            rows.append(row(REAL_HELD_OUT if kind == "real" and parts[0].task.like else NAMES[kind], kind, parts))
    targets: dict[str, dict[str, Any]] = {}
    for r in translated:
        if r.task.index is not None:
            made = row("", "translated", [r])
            targets[r.task.title] = {"pictures": made["pictures"], "values": made["values"]}
    return {
        "metrics": {
            m.name: {"better": m.better, "unit": m.unit, "meaning": m.meaning, "order": [list(pair) for pair in order]}
            for m, order in protocol.measures
        },
        "rows": rows,
        "targets": targets,
        "matrices": _matrices(protocol, bench, translated),
        **_curve(protocol, results),
        "notes": list(
            dict.fromkeys(
                [
                    *([] if protocol.generates else _absent(bench)),
                    *_unmatched(results),
                    *_uncertain(bench, [r for r in results if r.kind in ("translated", "generated")]),
                    *_approximate(protocol, bench),
                ]
            )
        ),
    }


def _curve(protocol: Protocol, results: Sequence[Result]) -> dict[str, Any]:
    """Return every measure against the number of passes through chains, none being the sources; nothing without chains."""
    chained = [r for r in results if r.task.passes]
    stages = {0: [r for r in chained if r.kind == "copy"]}
    for r in chained:
        if r.kind == "translated":
            stages.setdefault(r.task.passes[0], []).append(r)
    found = [_values(protocol, parts) for parts in stages.values()]
    values = {m.name: [of[m.name] for of in found] for m, _ in protocol.measures}
    return {"curve": {"passes": list(stages), "values": values}} if chained else {}


def _absent(bench: MeasureContext) -> list[str]:
    """Say which domains have no picture in the split: no sources, no references, no real ones to show."""
    notes = []
    for pictures in bench.sets:
        span = bench.space.dataset_span(pictures.set.dataset)
        for choice in bench.space.alternatives:
            absent = [
                bench.space.names[i] for i in choice if i in range(span.start, span.stop) and not pictures.set.holding(i).any()
            ]
            if absent:
                notes.append(f"no picture of {', '.join(absent)} is in the split, so nothing is translated from it")
    return notes


def _unmatched(results: Sequence[Result]) -> Iterator[str]:
    """Say of which targets the split has no real picture, so that the row of these is over the others."""
    absent = dict.fromkeys(r.task.name for r in results if r.kind == "real" and r.task.index is not None and not r.measured)
    if absent:
        yield f"no real picture of {', '.join(absent)} is in the split: the row of real pictures is over the other targets"


def over_all(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that are over all targets: those of translations in every mode, and those for orientation."""
    return [row for row in record["rows"] if row["kind"] != "translated" or ALL in row["name"]]


def broken_orders(record: dict[str, Any]) -> list[str]:
    """Say which metrics fail an order that their protocol states, such as 'fid: real 3.1 is not better than copy 2.9'.

    Translations are compared over all targets, in every mode; an order with a missing value holds.
    """
    whole, found = over_all(record), []
    for name, about in record["metrics"].items():
        for pair in about["order"]:
            for first, second in product(*([row for row in whole if row["kind"] == kind] for kind in pair)):
                a, b = first["values"].get(name), second["values"].get(name)
                if a is not None and b is not None and not (a > b if about["better"] == "higher" else a < b):
                    ours, theirs = (row["kind"] + row["name"].partition(ALL)[2] for row in (first, second))
                    found.append(f"{name}: {ours} {a:.4g} is not better than {theirs} {b:.4g}")
    return found


def _uncertain(bench: MeasureContext, results: Sequence[Result]) -> Iterator[str]:
    """Say what could not be computed of too few pictures, and what is not to be taken at face value."""
    for r in results:
        if missing := [name for name, value in r.compared.items() if value is None]:
            yield f"{r.task.title}: no {', '.join(missing)} of {r.counts[0]} outputs and {r.counts[1]} real pictures"
        elif r.compared and min(r.counts) <= bench.extractor.dims:
            yield (
                f"fid is too high where pictures ({min(r.counts):,}) are not far more than features ({bench.extractor.dims}): "
                "compare at equal numbers, or take kid"
            )


def _approximate(protocol: Protocol, bench: MeasureContext) -> Iterator[str]:
    """Say where LPIPS is not measured or something else is in its place, and how to have it."""
    if bench.perceptual is not None and bench.perceptual.name != "lpips" and bench.sets[0].picture.channels == 3:
        measured = [m for m, _ in protocol.measures]
        if DIVERSITY in measured:
            yield f"diversity is not LPIPS but its formula on the classifier's stages: for LPIPS put {lpips_files()}"
        if LPIPS in measured:
            yield f"lpips is not measured: put {lpips_files()}"


def _values(protocol: Protocol, parts: Sequence[Result]) -> Values:
    """Return every measure over some tasks: the mean over pictures, or over tasks where features are compared."""
    values: Values = {}
    for m, _ in protocol.measures:
        if m.of_features:
            found = [value for r in parts if (value := r.compared.get(m.name)) is not None]
            values[m.name] = sum(found) / len(found) if found else None
        else:
            values[m.name] = _mean(m, [r.values[m.name] for r in parts if m.name in r.values])
    return values


def _mean(measure: Measure, parts: Iterable[torch.Tensor]) -> float | None:
    known = list(parts)
    if not known:
        return None
    values = torch.cat(known)
    values = values[~values.isnan().any(1) if values.ndim == 2 else ~values.isnan()]
    if not len(values):
        return None
    if values.ndim == 2:
        above, below = values.sum(0).chunk(2)
        held = below > 0
        return float((above[held] / below[held]).mean()) if held.any() else None
    return float(values.mean())


def _matrices(protocol: Protocol, bench: MeasureContext, translated: Sequence[Result]) -> dict[str, Any]:
    """Return sources x targets of every measure: domains are the alternatives; null where there is no such task."""
    place = {i: k for k, i in enumerate(i for choice in bench.space.alternatives for i in choice)}
    names = [bench.space.names[i] for i in place]
    found: dict[str, Any] = {}

    def put(name: str, source: int, target: int, value: float | None) -> None:
        if value is not None:
            empty = {"rows": names, "columns": names, "values": [[None] * len(names) for _ in names]}
            found.setdefault(name, empty)["values"][place[source]][place[target]] = value

    for result in translated:
        task = result.task
        if task.index not in place:
            continue
        assert task.index is not None
        if task.source is not None:
            for name, value in _values(protocol, [result]).items():
                put(task.in_mode(name), task.source, task.index, value)
            continue
        held = bench.sets[task.pictures].set.take(task.rows)
        choice = next(c for c in bench.space.alternatives if task.index in c)
        for m, _ in protocol.measures:
            for source in choice:
                rows = held.holding(source)
                if m.name in result.values and rows.any():
                    put(m.name, source, task.index, _mean(m, [result.values[m.name][rows]]))
    return found


def set_names(space: LabelSpace) -> list[str]:
    """Name each set of alternatives by the ending that its labels, and those of no other set, share (Hair); else by them."""
    sets = [[space.names[i] for i in choice] for choice in space.alternatives]
    endings = [{name.rpartition("_")[2] for name in names} for names in sets]
    shared = [len(ending) == 1 and endings.count(ending) == 1 for ending in endings]
    return [ending.pop() if alone else ", ".join(names) for names, ending, alone in zip(sets, endings, shared, strict=True)]
