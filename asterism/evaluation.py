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
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.batch import Batch
from asterism.data.dataset import PictureSet, open_data
from asterism.data.loader import load_rows
from asterism.data.pictures import to_float, write
from asterism.data.sheets import grid
from asterism.engine.run import run as run_training
from asterism.engine.run import write_json
from asterism.labels import LabelSpace
from asterism.machine import Machine
from asterism.metrics.accuracy import preserved, reached
from asterism.metrics.truth import Partners, error_ratio, squared_error
from asterism.model_file import find_model, load_model
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings

BATCH = 50
SHEET_ROWS = 6
MEANINGS = [
    "reached: the classifier finds the wanted label",
    "preserved: the share of the other labels that it finds unchanged",
    "error ratio: squared error to the true picture of the edit, relative to leaving the input as it is",
]


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
    datasets = open_data(settings.data)
    machine = Machine.choose(device, precision)
    model = load_model(find_model(run), machine.device)
    if model.space != datasets.space:
        raise ConfigError(
            f"the data of {', '.join(settings.data.sources)} have the labels {', '.join(datasets.space.names)}; "
            f"the model knows {', '.join(model.space.names)}"
        )
    sets = [s for s in datasets.splits[split] if len(s)]
    if not sets:
        raise ConfigError(f"no picture is in the split {split!r}; splits come from the table, the folders or the file names")
    judge = trained_classifier(run, settings, machine, classifier or {})
    console = Console()
    tallies: dict[str, Tally] = {}
    accuracy: dict[str, float] = {}
    for pictures in sets:
        accuracy[pictures.name] = measure(model.recipe, judge, pictures, machine, tallies)
    scores = summarise(tallies, accuracy, datasets.space, split, int(model.info.get("step", 0)))
    write_json(run / "scores.json", scores)
    draw_held_out(run, model.recipe, sets[0], machine)
    show(scores, console)
    return scores


def trained_classifier(run: Path, settings: Settings, machine: Machine, overrides: dict[str, Any]) -> Recipe:
    """Train the classifier on the run's training pictures, once; it is kept in the run."""
    folder = run / "classifier"
    epochs = {"train.epochs": 8, "train.decay_epochs": 8, "train.batch_size": 32, "train.ema_kimg": 0}
    judge = Settings.resolve(
        "classifier", overrides=epochs | {"train.checkpoint_every": 10**9, "train.log_every": 100} | overrides
    )
    judge = dataclasses.replace(judge, data=settings.data)
    if not (folder / "model.safetensors").exists():
        print("training the classifier that judges the translations (once per run)")
        run_training(judge, folder)
    return load_model(folder / "model.safetensors", machine.device).recipe


@torch.inference_mode()
def measure(recipe: Recipe, judge: Recipe, pictures: PictureSet, machine: Machine, tallies: dict[str, Tally]) -> float:
    """Translate every picture of a set to every label it does not have; return the classifier's accuracy on the originals."""
    space = recipe.space
    everything = to_float(load_rows(pictures, range(len(pictures)), recipe.picture), recipe.picture)
    partners, span = Partners(pictures.identity, pictures.labels), space.dataset_span(pictures.dataset)
    right: list[Tensor] = []

    def judged(x: Tensor) -> Tensor:
        with machine.arithmetic():
            return space.decide(judge.classify(x.to(machine.device)).float().cpu())

    for start in track(range(0, len(pictures), BATCH), description=f"evaluating {pictures.name}", transient=True):
        rows = range(start, min(start + BATCH, len(pictures)))
        x, labels = everything[start : rows.stop], pictures.labels[start : rows.stop]
        found = judged(x)
        right.append((found == labels)[:, span].float().mean(1))
        for name, wanted in space.single_edits(labels, pictures.dataset):
            index = space.index(name)
            changed = (wanted != labels).any(1).nonzero()[:, 0]
            if not len(changed):
                continue
            source, wanted = x[changed], wanted[changed]
            y = translated(recipe, source, wanted, pictures.dataset, machine)
            tally = tallies.setdefault(name, Tally())
            edited = [i for i in range(space.num_labels) if (wanted[:, i] != labels[changed][:, i]).any()]
            decided = judged(y)
            tally.reached.append(reached(decided, wanted, index).float())
            tally.preserved.append(preserved(decided, labels[changed], edited, span))
            tally.copied.append(reached(found[changed], wanted, index).float())
            true = partners.find([rows[int(i)] for i in changed], wanted)
            held = [k for k, row in enumerate(true) if row is not None]
            if held:
                truth = everything[[row for row in true if row is not None]]
                tally.error.append(squared_error(y[held], truth))
                tally.unchanged.append(squared_error(source[held], truth))
                tally.real.append(reached(judged(truth), wanted[held], index).float())
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
    targets = {}
    for name, tally in tallies.items():
        values = tally.values()
        targets[name] = {"translations": sum(len(part) for part in tally.reached)} | values
        targets[name] |= {"copy reached": mean(tally.copied), "real reached": mean(tally.real)}
    rows = []
    for choice in space.alternatives:
        names = [space.names[i] for i in choice if space.names[i] in tallies]
        if names:
            rows.append({"name": f"translated, {_common_name(names)}", "values": merge(tallies[n] for n in names).values()})
    everything = merge(tallies.values())
    rows.append({"name": "translated, all targets", "values": everything.values()})
    known = bool(everything.error)
    copy = {"reached": mean(everything.copied), "preserved": 1.0, "error ratio": 1.0 if known else None}
    rows.append({"name": "copy the input", "values": copy})
    if known:
        real = {"reached": mean(everything.real), "preserved": 1.0, "error ratio": 0.0}
        rows.append({"name": "real pictures of the target", "values": real})
    notes = [f"the classifier is right on {a:.1%} of the labels of real {split} pictures of {n}" for n, a in accuracy.items()]
    return {
        "protocol": "edits",
        "version": 1,
        "split": split,
        "step": step,
        "rows": rows,
        "targets": targets,
        "classifier": accuracy,
        "notes": notes + MEANINGS,
        "units": dict.fromkeys(("reached", "preserved", "copy reached", "real reached"), "share"),
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
def draw_held_out(run: Path, recipe: Recipe, pictures: PictureSet, machine: Machine) -> None:
    """Write a sheet of held-out pictures x targets; where the true pictures exist, they stand in the row below."""
    seen: dict[str, int] = {}
    for row in range(len(pictures)):
        seen.setdefault(pictures.identity[row] if pictures.identity else str(row), row)
    rows = list(seen.values())[:: max(1, len(seen) // SHEET_ROWS)][:SHEET_ROWS]
    x = to_float(load_rows(pictures, rows, recipe.picture), recipe.picture)
    labels, partners = pictures.labels[rows], Partners(pictures.identity, pictures.labels)
    names, made, true = ["source"], [x], [x]
    complete = pictures.identity is not None
    for name, wanted in recipe.space.single_edits(labels, pictures.dataset):
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
    write_json(folder / "held_out.json", {"columns": names, "caption": caption})


def show(scores: dict[str, Any], console: Console) -> None:
    """Print the scores as tables."""
    percent = lambda v: "-" if v is None else f"{v:.1%}"  # noqa: E731
    number = lambda v: "-" if v is None else f"{v:.3f}"  # noqa: E731
    table = Table(title=f"{scores['split']} pictures, step {scores['step']}", title_justify="left")
    for column in ("target", "translations", "reached", "preserved", "error ratio", "copy reached", "real reached"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for name, v in scores["targets"].items():
        cells = (
            percent(v["reached"]),
            percent(v["preserved"]),
            number(v["error ratio"]),
            percent(v["copy reached"]),
            percent(v["real reached"]),
        )
        table.add_row(name, f"{v['translations']:,}", *cells)
    table.add_section()
    for row in scores["rows"]:
        v = row["values"]
        table.add_row(row["name"], "", percent(v["reached"]), percent(v["preserved"]), number(v["error ratio"]), "", "")
    console.print(table)
    for note in scores["notes"]:
        console.print(f"  {note}", highlight=False)
