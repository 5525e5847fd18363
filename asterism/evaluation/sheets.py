"""Sheets of pictures that belong to the scores: held-out pictures x targets, best and worst cases, styles, references; or what
was generated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.data.pictures import write
from asterism.data.sheets import grid
from asterism.evaluation.candidates import Generator
from asterism.evaluation.measures import MeasureContext
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.session import Result
from asterism.evaluation.tasks import Task
from asterism.evaluation.voices import recordings, shown
from asterism.metrics.structure import RANGE

ROWS, CASES = 6, 8
GENERATED = 64
"""Number of pictures on a sheet of generated pictures, and on the sheet of real ones."""
FULL_ERROR = 0.25
"""Error, as a share of the value range, that an error map shows in black."""
SHOWN = 3
"""Outputs of a case that has several."""


def draw(run: Path, key: str, bench: MeasureContext, system: Generator, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Write the sheets of a record below `samples/` of the run; return what scores.json says of them."""
    folder = Path("samples") / re.sub(r"[^\w.-]+", "-", key)
    (run / folder).mkdir(parents=True, exist_ok=True)
    cases = []

    def keep(name: str, title: str, rows: Tensor, columns: list[str], caption: str) -> None:
        file = folder / f"{name}.png"
        write(run / file, grid(shown(rows) if bench.sets[0].picture.sound else rows))
        cases.append({"title": title, "file": file.as_posix(), "columns": columns, "caption": caption})

    if results[0].task.like:
        keep("generated", "generated pictures", *_generated(system, results[0]))
        return cases
    keep("held_out", "held-out pictures", *_held_out(bench, system))
    if chained := [r.task for r in results if r.kind == "translated" and r.task.passes]:
        stages = [task for task in chained if task.pictures == chained[0].pictures]
        keep("again", "again and again", *_again(bench, system, stages))
    translated = [r for r in results if r.kind == "translated" and r.task.index is not None]
    how, order = _ranked(translated)
    if order:
        keep("best", "best cases", *_cases(bench, system, order[:CASES], f"best by {how}"))
        keep("worst", "worst cases", *_cases(bench, system, order[::-1][:CASES], f"worst by {how}"))
    if styles := [r for r in translated if r.task.outputs > 1]:
        keep("styles", "several outputs of one input", *_styles(bench, system, styles))
    if any(r.task.mode == "reference" for r in translated):
        keep("references", "styles of other pictures", *_references(bench, system))
    return cases + (recordings(run, folder, bench, system) if bench.sets[0].picture.sound else [])


def _generated(system: Generator, result: Result) -> tuple[Tensor, list[str], str]:
    """Return the first of the pictures that were measured, none of them chosen."""
    task, columns = result.task, 8
    count = max(1, min(len(task.rows), GENERATED) // columns) * columns
    rows = [task.rows[place % len(task.rows)] for place in range(count)]
    made = system.outputs(task, rows, torch.empty(count, 0), task.wanted[rows])
    return made.unflatten(0, (-1, columns)), [], f"the first {count} of {len(task.rows):,} generated pictures, none chosen"


def _held_out(bench: MeasureContext, system: Generator) -> tuple[Tensor, list[str], str]:
    """Return held-out pictures x targets; where all their true pictures exist, these stand in the row below."""
    pictures, partners = bench.sets[0], bench.partners[0]
    identity = pictures.set.identity or [""] * len(pictures)
    seen: dict[str | int, int] = {}
    for row in _sources(pictures, system):
        seen.setdefault(identity[row] or row, row)
    rows = list(seen.values())[:ROWS]
    x, labels = pictures.load(rows), pictures.labels[rows]
    names, made, true, taken = ["source"], [x], [x], pictures.taken(rows)
    targets = system.recipe.abilities.targets
    complete = pictures.set.identity is not None
    for name, wanted in bench.space.single_edits(labels, pictures.set.dataset):
        if targets and name not in targets:
            continue
        names.append(name)
        made.append(system.translate(taken, labels, wanted, pictures.set.dataset))
        found = [row for row in partners.find(rows, wanted) if row is not None]
        complete = complete and len(found) == len(rows)
        if complete:
            true.append(pictures.load(found))
    sheet = torch.stack(made, 1)
    if not complete:
        return sheet, names, "one source a row, then its translations"
    truth = torch.stack(true, 1)
    drawn = torch.stack([sheet, truth, error_map(sheet, truth)], 1).flatten(0, 1)
    return drawn, names, f"each source with its translations, below the true pictures, below these {ERRORS}"


ERRORS = f"the errors from white, none, to black, {FULL_ERROR:.0%} of the range or more"


def error_map(y: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute errors over channels of pictures [..., C, H, W] as grey pictures of that shape in [-1, 1]."""
    error = (y.float() - truth.float()).abs().mean(-3, keepdim=True) / RANGE
    return (1 - 2 * (error / FULL_ERROR).clamp(max=1)).expand_as(y)


def _ranked(translated: Sequence[Result]) -> tuple[str, list[tuple[Result, int]]]:
    """Return by what, and the translations from the best to the worst: by the truth, else the cycle, else the classifier."""
    how, scored = "", list[tuple[float, Result, int]]()
    for result in translated:
        if "error ratio" in result.values:
            how = "error to the true picture, relative to that of the unchanged input"
            above, below = result.values["error ratio"].unbind(1)
            score = -above / below
        elif "cycle ssim" in result.values:
            how = "reached, then similarity after translation there and back"
            score = result.values["reached"] * 10 + result.values["cycle ssim"]
        else:
            how = "the classifier's certainty of the target"
            score = result.certainty
        scored += [(value, result, i) for i, value in enumerate(score.tolist()) if value == value]
    scored.sort(key=lambda item: -item[0])  # Stable, so that equal scores keep the order of the pictures.
    return how, [(result, i) for _, result, i in scored]


def _cases(
    bench: MeasureContext, system: Generator, chosen: Sequence[tuple[Result, int]], how: str
) -> tuple[Tensor, list[str], str]:
    """Return one case a column: source, translations, and the true picture where all have one."""
    columns, names, true = [], [], []
    for result, i in chosen:
        task = result.task
        pictures, row, wanted = bench.sets[task.pictures], task.rows[i], task.wanted[i : i + 1]
        x = pictures.load([row])
        y = system.outputs(task, [row], x, wanted)[:SHOWN]
        found = bench.partners[task.pictures].find([row], wanted)[0]
        true += [] if found is None else [pictures.load([found])]
        columns.append([x, y])
        names.append(task.title)
    outputs = "its translation" if len(columns[0][1]) == 1 else f"the first {len(columns[0][1])} of its translations"
    caption = f"{how}; above the source, below {outputs}"
    if len(true) == len(columns):
        columns = [[*c, t, error_map(c[1], t.expand_as(c[1]))] for c, t in zip(columns, true, strict=True)]
        caption += f", then the true picture, then {ERRORS}"
    return torch.stack([torch.cat(column) for column in columns], 1), names, caption


def _styles(bench: MeasureContext, system: Generator, results: Sequence[Result]) -> tuple[Tensor, list[str], str]:
    """Return the outputs of the first source of some tasks, a task a row."""
    chosen = results[:: max(1, len(results) // ROWS)][:ROWS]
    rows = []
    for result in chosen:
        task = result.task
        x = bench.sets[task.pictures].load(task.rows[:1])
        rows.append(torch.cat([x, system.outputs(task, task.rows[:1], x, task.wanted[:1])]))
    count = results[0].task.outputs
    shown = "; ".join(r.task.title for r in chosen)
    return torch.stack(rows), ["source", *map(str, range(1, count + 1))], f"one source a row in {count} styles: {shown}"


def _references(bench: MeasureContext, system: Generator) -> tuple[Tensor, list[str], str]:
    """Return sources x references, one reference of each domain: the column's domain in the style of its reference."""
    pictures = bench.sets[0]
    targets = system.recipe.abilities.targets
    held = {row: name for row, name in _one_of_each(bench).items() if not targets or name in targets}
    references, names = pictures.load(list(held)), list(held.values())
    labels = pictures.labels[list(held)]
    sources = ([row for row in _sources(pictures, system) if row not in held] or list(held))[:ROWS]
    x, taken = pictures.load(sources), pictures.taken(sources)
    styles = system.read(references, labels, pictures.set.dataset)
    blank = torch.ones_like(x[:1])
    rows = [torch.cat([blank, references])]
    for picture, source, row in zip(x, taken, sources, strict=True):
        many, own = source.expand(len(references), *source.shape), pictures.labels[row].expand_as(labels)
        rows.append(torch.cat([picture[None], system.translate(many, own, labels, pictures.set.dataset, styles)]))
    return torch.stack(rows), ["source", *names], "above the references, one of each domain; below each source in their styles"


def _again(bench: MeasureContext, system: Generator, stages: Sequence[Task]) -> tuple[Tensor, list[str], str]:
    """Return sources, and each after its numbers of passes through a chain of targets and back."""
    task = replace(stages[0], mode="label", passes=tuple(stage.passes[0] for stage in stages))
    places = _shuffled(len(task.rows))[:ROWS]
    rows = [task.rows[place] for place in places]
    x = bench.sets[task.pictures].load(rows)
    made = torch.stack([x, *system.again(task, rows, x, task.wanted[places])], 1)
    return made, ["source", *(stage.mode for stage in stages)], "one source a row, each time back at its own labels"


def _sources(pictures: Pictures, system: Generator) -> list[int]:
    """Return the rows of pictures that the recipe translates, shuffled: none that is of its only target already."""
    space, targets = system.recipe.space, system.recipe.abilities.targets
    there = pictures.labels[:, [space.index(name) for name in targets]].sum(1)
    return [row for row in _shuffled(len(pictures)) if there[row] == 0]


def _one_of_each(bench: MeasureContext) -> dict[int, str]:
    """Return a held-out picture of each domain of the first set, and the domain's name."""
    pictures = bench.sets[0]
    order = _shuffled(len(pictures))
    found = (
        (next((row for row in order if has[row]), None), index)
        for index in bench.space.domains(pictures.set.dataset)
        for has in [pictures.set.holding(index)]
    )
    return {row: bench.space.names[index] for row, index in found if row is not None}


def _shuffled(count: int) -> list[int]:
    """Return the numbers below `count` in an order drawn once and for all: folders and tables often go domain by domain."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
