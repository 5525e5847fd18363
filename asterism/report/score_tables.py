"""The scores: a table for each set of records whose numbers may be compared, and never a table of others.

Metrics stand in rows, what was measured in columns: copying the input, the model's pictures, and real pictures of the target
show what a value means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asterism.report.heat_maps import heat_maps
from asterism.runs.folder import Run
from asterism.runs.scores import Record, metric_title, why_not_comparable
from asterism.wording import number, quantity

MADE = "translated"
"""The kind of rows that are the model's work; `evaluation.candidates` names the others, which are for orientation."""
ORIENTATION = {
    "nearest": "nearest training pair",
    "mean": "mean picture",
    "colour": "mean colour",
    "copy": "copy the input",
    "real": "real pictures",
    "random": "random weights",
}


@dataclass(frozen=True)
class Entry:
    """One record of one run; `checkpoint` tells it from others of the same run in its table."""

    run: int
    record: Record
    checkpoint: str = ""


@dataclass(frozen=True)
class Column:
    """What is measured in a column of a table: `entry` says of whom, unless all have the same values there."""

    kind: str
    name: str
    entry: Entry | None
    values: Mapping[str, float | None]


def score_tables(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the tables of all records of the runs."""
    sets = comparable([Entry(i, record) for i, run in enumerate(runs) for record in run.scores.values()])
    return [_table(_told_apart(entries), sets[:i]) for i, entries in enumerate(sets)]


def comparable(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Sort records into sets whose numbers may be compared, in the order in which they come."""
    sets: list[list[Entry]] = []
    for entry in entries:
        same = (held for held in sets if why_not_comparable(held[0].record, entry.record) is None)
        if (held := next(same, None)) is not None:
            held.append(entry)
        else:
            sets.append([entry])
    return sets


def _told_apart(entries: Sequence[Entry]) -> list[Entry]:
    several = {e.run for e in entries if sum(other.run == e.run for other in entries) > 1}
    words = (f"{e.record['checkpoint']}, step {e.record['step']:,}" if e.run in several else "" for e in entries)
    return [replace(entry, checkpoint=text) for entry, text in zip(entries, words, strict=True)]


def _table(entries: Sequence[Entry], before: Sequence[Sequence[Entry]]) -> dict[str, Any]:
    record = entries[0].record
    twins = [other[0].record for other in before if other[0].record["protocol"] == record["protocol"]]
    metrics = {name: about for entry in entries for name, about in entry.record["metrics"].items()}
    columns = _columns(entries)
    return {
        "record": record,
        "entries": entries,
        "apart": why_not_comparable(twins[-1], record) if twins else None,
        "judges": _said(entries, lambda record: [_judge(record["classifier"])] if record.get("classifier") else []),
        "notes": _said(entries, lambda record: record.get("notes", ())),
        "kinds": [column.kind for column in columns],
        "columns": columns,
        "rows": [_row(metric, metric_title(metric, record), about, columns) for metric, about in metrics.items()],
        "targets": _targets(entries, metrics),
        "heat_maps": heat_maps([(entry, entry.record) for entry in entries]),
    }


def _said(entries: Sequence[Entry], sayings: Callable[[Record], Iterable[Any]]) -> list[tuple[Any, list[Entry]]]:
    """Return everything that records say once, with the entries whose records say it; with none if all do."""
    whose: dict[Any, list[Entry]] = {}
    for entry in entries:
        for saying in sayings(entry.record):
            whose.setdefault(saying, []).append(entry)
    return [(saying, of if len(of) < len(entries) else []) for saying, of in whose.items()]


def _judge(judge: Mapping[str, Any]) -> tuple[str, bool]:
    """Say how good a classifier is on real pictures, and whether nothing that it says counts."""
    text = f"The classifier is right on {judge['accuracy']:.1%} of the labels of real pictures"
    if judge.get("void"):
        return f"Void. {text}; below {judge['needed']:.0%} nothing that it says counts.", True
    worst = min(judge.get("labels", {}).items(), key=lambda item: item[1], default=None)
    return text + (f", least often on {worst[0]}: {worst[1]:.1%}." if worst and worst[1] < judge["accuracy"] else "."), False


# -- the table with the rows for orientation -----------------------------------------------------------------------------


def _columns(entries: Sequence[Entry]) -> list[Column]:
    """Return the columns; rows for orientation that measure the same in all records stand once."""
    rows: dict[tuple[str, str], list[Column]] = {}
    for entry in entries:
        for row in entry.record["rows"]:
            kind = row["kind"] if row["kind"] in ORIENTATION else MADE
            name = ORIENTATION.get(kind, row["name"].removeprefix("translated, "))
            name = name.removeprefix("all targets, ") if "curve" in entry.record else name
            rows.setdefault((kind, name), []).append(Column(kind, name, entry, row["values"]))
    columns: list[Column] = []
    for kind in (MADE, *ORIENTATION):
        for found in (found for (held, _), found in rows.items() if held == kind):
            same = kind != MADE and all(column.values == found[0].values for column in found)
            columns += [replace(found[0], entry=None)] if same else found
    return columns


def _row(metric: str, title: str, about: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    values = [value if (value := c.values.get(metric)) is not None and math.isfinite(value) else None for c in columns]
    cells = []
    for column, value, is_best in zip(columns, values, _best(values, about, columns), strict=True):
        text, _, unit = quantity(value, about["unit"]).partition(" ")
        cells.append({"kind": column.kind, "number": text, "unit": unit, "best": is_best})
    return {"title": title, "about": about, "cells": cells, "marks": _marks(values, about, columns)}


def _best(values: Sequence[float | None], about: Mapping[str, Any], columns: Sequence[Column]) -> list[bool]:
    """Say which values are the best: of the models' pictures alone, those of one name, where a reader sees a difference."""
    best = [False] * len(columns)
    for name in {c.name for c in columns if c.kind == MADE} if about["better"] in ("higher", "lower") else ():
        rivals = {i: v for i, (c, v) in enumerate(zip(columns, values, strict=True)) if c.name == name and v is not None}
        if len(rivals) > 1:
            winner = number((max if about["better"] == "higher" else min)(rivals.values()), about["unit"])
            winners = [i for i, value in rivals.items() if number(value, about["unit"]) == winner]
            for i in winners if len(winners) < len(rivals) else ():
                best[i] = True
    return best


def _marks(values: Sequence[float | None], about: Mapping[str, Any], columns: Sequence[Column]) -> list[tuple[str, float, int]]:
    """Return (kind, place from 0, worse, to 1, better, run) of all values of a metric; none where no place is better."""
    found = [(c, value) for c, value in zip(columns, values, strict=True) if value is not None]
    # Untrained weights may be so far off that nothing else could be told apart: their mark then stands at the end.
    apart = {value for c, value in found if c.kind != "random"}
    if len(apart) < 2:
        apart = {value for _, value in found}
    low, high = min(apart, default=0.0), max(apart, default=0.0)
    if about["unit"] == "share" and about["better"] == "higher":  # Else 99.8% and 99.9% would stand at the two ends.
        low, high = 0.0, 1.0
    if about["better"] not in ("higher", "lower") or low == high:
        return []
    marks = []
    for column, value in found:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        place = share if about["better"] == "higher" else 1 - share
        marks.append((column.kind, round(place, 4), column.entry.run if column.entry else 0))
    order = ("colour", "mean", "nearest", "copy", "random", "real", MADE)  # What is drawn last lies on top.
    return sorted(marks, key=lambda mark: order.index(mark[0]))


# -- target by target ----------------------------------------------------------------------------------------------------


def _targets(entries: Sequence[Entry], metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metrics, and (target, (entry, cells, pictures) of each entry that has it); nothing without targets."""
    held: dict[str, list[tuple[Entry, Mapping[str, Any]]]] = {}
    for entry in entries:
        for target, about in entry.record.get("targets", {}).items():
            held.setdefault(target, []).append((entry, about))
    measured = {name for found in held.values() for _, about in found for name, v in about["values"].items() if v is not None}
    names = [name for name, about in metrics.items() if name in measured and about["better"]]
    if not names:
        return {}

    def cell(value: float | None, unit: str) -> tuple[str, float | None]:
        """Return the number, and how long a bar it has: only shares do."""
        return number(value, unit), min(max(value, 0.0), 1.0) if unit == "share" and value is not None else None

    rows = [
        (target, [(e, [cell(t["values"].get(n), metrics[n]["unit"]) for n in names], t["pictures"]) for e, t in found])
        for target, found in held.items()
    ]
    titles = [(metric_title(name, entries[0].record), metrics[name]["better"]) for name in names]
    return {"metrics": titles, "rows": rows}
