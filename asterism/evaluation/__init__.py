"""`asterism evaluate`: translate held-out pictures to every target, and measure what came out.

A classifier trained on the real training pictures says whether the wanted label is there and the others still are; where
the data have the true picture of an edit, the error to it is compared with that of leaving the input as it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.collection import DataError
from asterism.data.dataset import PictureSet, open_data
from asterism.data.loader import load_rows
from asterism.data.pictures import PictureFormat, to_float, write
from asterism.data.sheets import grid
from asterism.engine.run import run as run_training
from asterism.evaluation.scores import keep
from asterism.labels import LabelSpace
from asterism.machine import Machine
from asterism.metrics.accuracy import agreement, reached
from asterism.metrics.truth import Partners, error_ratio, squared_error
from asterism.model_file import FILE_NAME, find_model, load_model
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings
from asterism.terminal import counting

BATCH = 50
SHEET_ROWS = 6
METRICS = {
    "reached": {
        "better": "higher",
        "unit": "share",
        "meaning": "the classifier finds the wanted label",
        "order": [["real", "copy"]],
    },
    "preserved": {
        "better": "higher",
        "unit": "share",
        "meaning": "the share of the other labels that it finds unchanged",
        "order": [],
    },
    "error ratio": {
        "better": "lower",
        "unit": "",
        "meaning": "squared error to the true picture of the edit, relative to leaving the input as it is",
        "order": [["real", "copy"]],
    },
}


@dataclasses.dataclass
class Tally:
    """What one target's translations gave; lists of one tensor per batch."""

    reached: list[Tensor] = dataclasses.field(default_factory=list)
    preserved: list[Tensor] = dataclasses.field(default_factory=list)
    copied: list[Tensor] = dataclasses.field(default_factory=list)
    real: list[Tensor] = dataclasses.field(default_factory=list)
    error: list[Tensor] = dataclasses.field(default_factory=list)
    unchanged: list[Tensor] = dataclasses.field(default_factory=list)

    def values(self) -> dict[str, float | None]:
        """Return the three scores of the translations."""
        ratio = error_ratio(torch.cat(self.error), torch.cat(self.unchanged)) if self.error else None
        return {"reached": mean(self.reached), "preserved": mean(self.preserved), "error ratio": ratio}


def evaluate(
    run: Path,
    *,
    split: str = "test",
    data: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    classifier: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a run; print a table and write `scores.json` and `samples/held_out.png` into it.

    Args:
        run: the run's folder.
        split: "val" or "test".
        data: where the data are now; none where the run found them.
        device, precision: as in training.
        classifier: dotted settings of the classifier's training, for small data.

    Returns:
        The scores as written.

    Raises:
        ConfigError: not a run of a translation recipe, or no pictures in the split.
    """
    if not (run / "config.json").exists():
        raise ConfigError(f"{run} is no run: it has no config.json")
    settings = Settings.from_json(json.loads((run / "config.json").read_text(encoding="utf-8")))
    if data:
        settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, sources=tuple(data)))
    gone = [source for source in settings.data.sources if not Path(source).expanduser().exists()]
    if gone or not settings.data.sources:
        where = f"its data are no longer at {gone[0]}" if gone else "it came without data"
        raise ConfigError(f"{run} cannot be measured, since {where}: say where they are by --data")
    datasets = open_data(settings.data)
    machine = Machine.choose(device, precision)
    model = load_model(find_model(run), machine.device)
    space = datasets.space
    if layout(model.space) != layout(space):
        raise ConfigError(
            f"the data of {', '.join(settings.data.sources)} have the labels {', '.join(space.names)}; the model knows "
            f"{', '.join(model.space.names)}, in that order"
        )
    sets = [s for s in datasets.splits[split] if len(s)]
    if not sets:
        raise ConfigError(f"no picture is in the split {split!r}; splits come from the table, the folders or the file names")
    judge = trained_classifier(run, settings, machine, classifier or {})
    tallies: dict[str, Tally] = {}
    accuracy: dict[str, float] = {}
    for pictures in sets:
        accuracy[pictures.name] = measure(model.recipe, judge, pictures, space, machine, tallies)
    scores = summarise(tallies, accuracy, space, split, int(model.info.get("step", 0)))
    scores["cases"] = [draw_held_out(run, model.recipe, sets[0], space, machine)]
    keep(run, scores)
    show(scores, Console())
    return scores


def layout(space: LabelSpace) -> list[tuple[int, str, tuple[str, ...]]]:
    """Return what a model's weights depend on: the labels in order; not what the datasets are called, nor which exclude."""
    return [(space.datasets.index(group.dataset), group.kind, group.labels) for group in space.groups]


def trained_classifier(run: Path, settings: Settings, machine: Machine, overrides: dict[str, Any]) -> Recipe:
    """Train the classifier on the run's training pictures, once; it is kept in the run."""
    folder = run / "classifier"
    small = max(settings.data.size) < 128  # Where half of ResNet-18's width is plenty, and a quarter of the time.
    epochs = {"train.epochs": 5, "train.decay_epochs": 5, "train.batch_size": 32, "train.ema_kimg": 0}
    epochs |= {"recipe.width": 32 if small else 64}
    judge = Settings.resolve(
        "classifier", overrides=epochs | {"train.checkpoint_every": 10**9, "train.log_every": 100} | overrides
    )
    judge = dataclasses.replace(judge, data=settings.data)
    if not (folder / FILE_NAME).exists():
        print("training the classifier that judges the translations (once per run)")
        if run_training(judge, folder).signal is not None:
            (folder / FILE_NAME).unlink()  # Half-trained; its checkpoint goes on.
            raise KeyboardInterrupt
    return load_model(folder / FILE_NAME, machine.device).recipe


def load_readable(pictures: PictureSet, picture: PictureFormat) -> tuple[PictureSet, Tensor]:
    """Return the pictures that can be decoded and their stored values [M, C, H, W]; the others are named.

    Training takes another picture in the place of a broken one; a measurement must not count it.

    Raises:
        DataError: none can be decoded.
    """
    loaded, rows, reason = [], [], DataError(f"{pictures.name} holds no pictures")
    with counting(f"reading {pictures.name}") as progress:
        for row in range(len(pictures)):
            try:
                loaded.append(load_rows(take(pictures, [row]), [0], picture))
                rows.append(row)
            except DataError as error:
                reason = error
                print(f"left out: {error}")
            progress(row + 1, len(pictures))
    if not rows:
        raise reason
    return take(pictures, rows), torch.cat(loaded)


def take(pictures: PictureSet, rows: Sequence[int]) -> PictureSet:
    """Return some pictures of a set."""
    return dataclasses.replace(
        pictures,
        paths=[pictures.paths[row] for row in rows],
        labels=pictures.labels[list(rows)],
        known=pictures.known[list(rows)],
        identity=[pictures.identity[row] for row in rows] if pictures.identity else None,
    )


@torch.inference_mode()
def measure(
    recipe: Recipe, judge: Recipe, pictures: PictureSet, space: LabelSpace, machine: Machine, tallies: dict[str, Tally]
) -> float:
    """Translate every picture of a set to every label it does not have; return the classifier's accuracy on the originals."""
    pictures, everything = load_readable(pictures, recipe.picture)
    partners = Partners(pictures.identity, pictures.labels)
    right: list[Tensor] = []

    def judged(x: Tensor) -> Tensor:
        with machine.arithmetic():
            return space.decide(judge.classify(x.to(machine.device)).float().cpu())

    def float_rows(rows: Sequence[int]) -> Tensor:
        return to_float(everything[list(rows)], recipe.picture)

    with counting(f"translating {pictures.name}") as progress:
        for start in range(0, len(pictures), BATCH):
            rows = range(start, min(start + BATCH, len(pictures)))
            x, labels, known = float_rows(rows), pictures.labels[start : rows.stop], pictures.known[start : rows.stop]
            found = judged(x)
            right.append(agreement(found, labels, known))
            for name, wanted in space.single_edits(labels, pictures.dataset):
                index = space.index(name)
                changed = (wanted != labels).any(1).nonzero()[:, 0]
                if not len(changed):
                    continue
                source, wanted = x[changed], wanted[changed]
                y = translated(recipe, source, wanted, pictures.dataset, machine)
                tally = tallies.setdefault(name, Tally())
                kept = known[changed].clone()
                kept[:, [index, *(j for choice in space.alternatives if index in choice for j in choice)]] = 0
                decided = judged(y)
                tally.reached.append(reached(decided, wanted, index).float())
                tally.preserved.append(agreement(decided, labels[changed], kept))
                tally.copied.append(reached(found[changed], wanted, index).float())
                true = partners.find([rows[int(i)] for i in changed], wanted)
                held = [k for k, row in enumerate(true) if row is not None]
                if held:
                    truth = float_rows([row for row in true if row is not None])
                    tally.error.append(squared_error(y[held], truth))
                    tally.unchanged.append(squared_error(source[held], truth))
                    tally.real.append(reached(judged(truth), wanted[held], index).float())
            progress(rows.stop, len(pictures))
    return float(torch.cat(right).mean())


def translated(recipe: Recipe, x: Tensor, wanted: Tensor, dataset: int, machine: Machine) -> Tensor:
    """Translate pictures [N, C, H, W] to full labels [N, L] of one dataset; float32 on the CPU, in [-1, 1]."""
    where = torch.full((len(x),), dataset)
    target = Batch(labels=wanted, known=recipe.space.known(where), dataset=where).to(machine.device)
    with machine.arithmetic():
        return recipe.translate(x.to(machine.device), target).float().clamp(-1, 1).cpu()


def summarise(
    tallies: dict[str, Tally], accuracy: dict[str, float], space: LabelSpace, split: str, step: int
) -> dict[str, Any]:
    """Turn tallies into scores: every target, then means over sets of alternatives and over all, then copy and real."""
    targets = {
        name: {"pictures": sum(len(part) for part in tally.reached), "values": tally.values()}
        for name, tally in tallies.items()
    }
    rows = []

    def add(name: str, kind: str, tally: Tally, values: dict[str, float | None]) -> None:
        rows.append({"name": name, "kind": kind, "pictures": sum(len(part) for part in tally.reached), "values": values})

    for choice in space.alternatives:
        names = [space.names[i] for i in choice if space.names[i] in tallies]
        if names:
            group = merge(tallies[n] for n in names)
            add(f"translated, {_common_name(names)}", "translated", group, group.values())
    everything = merge(tallies.values())
    add("translated, all targets", "translated", everything, everything.values())
    known = bool(everything.error)
    copy = {"reached": mean(everything.copied), "preserved": 1.0, "error ratio": 1.0 if known else None}
    add("copy the input", "copy", everything, copy)
    if known:
        real = {"reached": mean(everything.real), "preserved": 1.0, "error ratio": 0.0}
        add("real pictures of the target", "real", everything, real)
    notes = [f"the classifier is right on {a:.1%} of the labels of real {split} pictures of {n}" for n, a in accuracy.items()]
    return {
        "protocol": "stargan",
        "version": 1,
        "parameters": {},
        "split": split,
        "checkpoint": "last",
        "step": step,
        "extractor": {"name": "classifier", "digest": "", "dims": 0},
        "data": "",
        "metrics": METRICS,
        "rows": rows,
        "targets": targets,
        "matrices": {},
        "classifier": {"accuracy": accuracy},
        "notes": notes,
        "cases": [],
    }


def mean(parts: list[Tensor]) -> float | None:
    """Return the mean over all pictures of all batches, or None where there are none."""
    return float(torch.cat(parts).mean()) if parts else None


def merge(tallies: Iterable[Tally]) -> Tally:
    """Put the tallies of several targets together."""
    result = Tally()
    for tally in tallies:
        for name in vars(result):
            getattr(result, name).extend(getattr(tally, name))
    return result


def _common_name(names: list[str]) -> str:
    """Name a set of alternatives by the ending that its labels share (Hair), else by the labels."""
    endings = {n.rpartition("_")[2] for n in names}
    return endings.pop() if len(endings) == 1 else ", ".join(names)


@torch.inference_mode()
def draw_held_out(run: Path, recipe: Recipe, pictures: PictureSet, space: LabelSpace, machine: Machine) -> dict[str, Any]:
    """Write a sheet of held-out pictures x targets; where the true pictures exist, they stand in the row below."""
    seen: dict[str, int] = {}
    for row in range(len(pictures)):
        seen.setdefault(pictures.identity[row] if pictures.identity else str(row), row)
    rows = list(seen.values())[:: max(1, len(seen) // SHEET_ROWS)][:SHEET_ROWS]
    x = to_float(load_rows(pictures, rows, recipe.picture), recipe.picture)
    labels, partners = pictures.labels[rows], Partners(pictures.identity, pictures.labels)
    names, made, true = ["source"], [x], [x]
    complete = pictures.identity is not None
    for name, wanted in space.single_edits(labels, pictures.dataset):
        names.append(name)
        made.append(translated(recipe, x, wanted, pictures.dataset, machine))
        found = partners.find(rows, wanted)
        complete = complete and all(row is not None for row in found)
        if complete:
            true.append(
                to_float(load_rows(pictures, [row for row in found if row is not None], recipe.picture), recipe.picture)
            )
    sheet = torch.stack(made, 1)
    caption = "one source a row, then its translations"
    if complete:
        sheet = torch.stack([sheet, torch.stack(true, 1)], 1).flatten(0, 1)
        caption = "each source with its translations, and in the row below the true pictures"
    folder = run / "samples"
    folder.mkdir(exist_ok=True)
    write(folder / "held_out.png", grid(sheet))
    return {"title": "held-out pictures", "file": "samples/held_out.png", "columns": names, "caption": caption}


def show(scores: dict[str, Any], console: Console) -> None:
    """Print the scores: a line per target, then the means, in as many columns as there is something to say."""

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("target", overflow="fold")
    true = any(row["values"]["error ratio"] is not None for row in scores["rows"])
    for column in ("n", "reached", "preserved", *(("error ratio",) if true else ())):
        table.add_column(column, justify="right", no_wrap=True)
    for row in [*({"name": n} | v for n, v in scores["targets"].items()), None, *scores["rows"]]:
        if row is None:
            table.add_section()
            continue
        v = row["values"]
        cells = [f"{row['pictures']:,}", share(v["reached"]), share(v["preserved"])]
        table.add_row(row["name"], *cells, *([number(v["error ratio"])] if true else []))
    if not console.is_terminal:
        console.width = max(console.width, 100)
    console.print(f"\n{scores['split']} pictures, step {scores['step']}", highlight=False)
    console.print(table)
    meanings = [f"{name}: {about['meaning']}" for name, about in scores["metrics"].items() if true or name != "error ratio"]
    for line in [*scores["notes"], *meanings]:
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)
