"""Print scores as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asterism.console import make_console
from asterism.evaluation.codes import TOLD
from asterism.evaluation.summary import ALL, over_all
from asterism.runs.scores import metric_title
from asterism.wording import number, quantity

SHOWN = 5
"""Measures in the table of targets; the report shows all."""


def show(record: dict[str, Any], console: Console) -> None:
    """Print a record: measures x kinds of rows, then targets x the first measures, then what must be known to read them."""
    if not console.is_terminal:
        console.width = max(console.width, 110)
    about = record["extractor"]
    console.print(
        f"\n{record['protocol']}, version {record['version']}: {record['split']} pictures, {record['checkpoint']} checkpoint, "
        f"step {record['step']}; features of {about['name']} {about['digest']}",
        highlight=False,
        markup=False,
    )
    whole = over_all(record)
    parts = [row for row in record["rows"] if row not in whole]
    arrows = {"higher": " ↑", "lower": " ↓"}
    titles = {name: metric_title(name, record) + arrows.get(about["better"], "") for name, about in record["metrics"].items()}
    if curve := record.get("curve"):
        table = _table("passes", *titles.values())
        stages = [(str(count), {name: curve["values"][name][i] for name in titles}) for i, count in enumerate(curve["passes"])]
        others = [(row["name"], row["values"]) for row in whole if row["kind"] not in ("translated", "copy")]
        for text, values in [*stages, *others]:
            cells = (quantity(values.get(name), about["unit"]) for name, about in record["metrics"].items())
            table.add_row(Text(text), *cells)
    else:
        table = _table("", *(row["name"].replace(f", {ALL}", "") for row in whole))
        for name, title in titles.items():
            cells = (quantity(row["values"].get(name), record["metrics"][name]["unit"]) for row in whole)
            table.add_row(Text(title), *cells)
    console.print(table)
    ranked = [m for m, about in record["metrics"].items() if about["better"]]
    named = [m for m in ranked if any(t["values"].get(m) is not None for t in record["targets"].values())][:SHOWN]
    table = _table("target", "n", *(metric_title(m, record) for m in named))
    for row in [*({"name": n} | t for n, t in record["targets"].items()), None, *parts]:
        if row is None:
            table.add_section()
        else:
            cells = (quantity(row["values"].get(m), record["metrics"][m]["unit"]) for m in named)
            table.add_row(Text(row["name"]), f"{row['pictures']:,}", *cells)
    if record["targets"]:
        console.print(table)
    if told := record.get("matrices", {}).get(TOLD):
        table = _table(TOLD, *told["columns"])
        for name, values in zip(told["rows"], told["values"], strict=True):
            table.add_row(Text(name), *(quantity(value, "share") for value in values))
        console.print(table)
    lines, judge = list[str](), record["classifier"]
    if judge:
        lines.append(
            f"the classifier is right on {judge['accuracy']:.1%} of the labels of real {record['split']} pictures (labels "
            f"alike; at least {judge['needed']:.0%} is needed)"
        )
    if judge and judge["void"]:
        lines.append("VOID: its accuracy is too low, so its scores do not count")
    meanings = [f"{metric_title(name, record)}: {m['meaning']}" for name, m in record["metrics"].items()]
    for line in [*lines, *record["notes"], *meanings]:
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def show_judged(said: Mapping[str, Any]) -> None:
    """Print what `asterism judge` found: a line per picture, then what the judges are worth."""
    console = make_console()
    if not console.is_terminal:
        console.width = max(console.width, 110)
    judges = said["judges"]
    if said["pictures"]:
        table = _table("picture", *(f"{name}{what}" for name in judges for what in ("", ": real below")))
        for one in said["pictures"]:
            cells = [(number(one[name]["score"]), number(one[name]["real_below"], "share")) for name in judges]
            table.add_row(Text(one["file"]), *(cell for pair in cells for cell in pair))
        console.print(table)
        console.print("scores: higher looks more real; real below: the share of real held-out pictures that look less real\n")
    cases = list(dict.fromkeys(case for measured in judges.values() for case in measured))
    if cases:
        table = _table("AUROC: real held-out pictures against", "real", "fake", *judges)
        for case in cases:
            found = [measured[case] for measured in judges.values()]
            areas = (f"{about['auroc']:.3f} ± {about['error']:.3f}" for about in found)
            table.add_row(Text(case), f"{found[0]['real']:,}", f"{found[0]['fake']:,}", *areas)
        console.print(table)
    left_out = [f"left out: {file}: {reason}" for file, reason in said["left_out"]]
    for line in [*left_out, *said["notes"], *said["verdicts"]]:
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table
