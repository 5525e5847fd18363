"""The job of `asterism judge`: is it fake? Pictures are scored, and how far the scores can be trusted is measured.

Two judges: the run's own discriminator, which was trained against the fakes of a generator that learned to deceive it, and a
detector that is trained here, on the final generator's fakes against real held-out pictures. Each is asked to tell real
held-out pictures from the run's fakes, from both saved as JPEG, and from the fakes of other runs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.data.dataset import Datasets
from asterism.data.pictures import PictureError, PictureFormat, to_float, to_stored
from asterism.engine import checkpoint
from asterism.evaluation.checkpoints import chosen
from asterism.evaluation.detector import STEPS, train_detector
from asterism.evaluation.exhibits import QUALITY, Exhibits, compressed, exhibits
from asterism.evaluation.run_data import check_data_are_there, edited, open_run_data
from asterism.inference.folder import find_pictures
from asterism.inference.images import fit_in, open_file
from asterism.machine import Machine
from asterism.metrics.ranking import auroc, auroc_error
from asterism.recipes.model import Model, load_model
from asterism.recipes.settings import Settings
from asterism.runs.scores import Record
from asterism.storage.model_file import ModelError, find_model
from asterism.storage.run_files import called
from asterism.storage.whole import write_whole

COUNT, BATCH = 500, 32
NEEDED = 0.9
"""A judge whose area under the ROC curve may be below this, by two standard errors, is said to be no detector."""
DISCRIMINATOR, DETECTOR = "discriminator", "detector"
Score = Callable[[Tensor], Tensor]
"""Stored values [N, C, H, W] to scores [N], higher where a picture looks more real."""


def judge(
    run: str | Path,
    pictures: Sequence[Path] = (),
    *,
    train: bool = False,
    against: Sequence[Path] = (),
    count: int = COUNT,
    batch: int = BATCH,
    data: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "float32",
    steps: int = STEPS,
) -> dict[str, Any]:
    """Score pictures by how real they look to a run's judges, and measure what that is worth.

    Args:
        run: the run's folder; for the discriminator alone, without measurements, also a model file that holds it.
        pictures: files and folders; none only measures.
        train: train a detector too, on pictures of the split val; what is measured is on those of the split test.
        against: other runs, whose fakes are to be told from real pictures.
        count: pictures of each split and data set, and as many fakes; 0 takes all.
        batch: pictures at once.
        data: where the data are now; none where the runs found them.
        device, precision: as in training, but float32 by default.
        steps: of the detector's training.

    Returns:
        JSON values: `pictures`, each with `file` and for each judge `score` and `real_below`, the share of real held-out
        pictures that look less real (null where nothing was measured); `left_out`, files with the reason; `judges`, for each
        of them and each of the cases `auroc`, `error` (one standard error), `real`, `fake`; `verdicts` and `notes`, sentences;
        and `checkpoint`, `step`.

    Raises:
        ModelError: no discriminator in the file, and no other judge asked for.
        ConfigError: a recipe whose discriminator judges no picture alone, no data to train a detector on, or another run
            whose pictures are of another size or kind.
    """
    if batch < 1 or count < 0 or steps < 1:
        raise ConfigError(f"batch is {batch}, count {count}, steps {steps}; expected at least 1, 0 and 1")
    found = find_pictures(pictures)
    machine = Machine.choose(device, precision)
    model, where = _newest(run, machine)
    model.recipe.to(machine.full_dtype)
    picture = model.picture.made
    notes = list[str]()
    judges: dict[str, Score] = {}
    if lacking := _no_discriminator(run, model):
        if not train:
            raise ModelError(f"{lacking}; with its data, --train trains a detector instead")
        notes.append(lacking)
    else:
        judges[DISCRIMINATOR] = _scorer(model.recipe.realness, picture, machine, batch)
    with machine.backend_flags():
        datasets, why = _data(run, model, data)
        if datasets is None and (train or against):
            raise ConfigError(why)
        held = _exhibits(model, datasets, "test", machine, count, batch) if datasets else None
        cases: dict[str, Exhibits] = {}
        if held is None:
            notes.append(f"nothing is measured: {why}")
        else:
            if train:
                assert datasets is not None
                own = _exhibits(model, datasets, "val", machine, count, batch)
                network = train_detector(own.real, own.fake, picture, machine, steps)
                judges[DETECTOR] = _scorer(lambda x: network(x).flatten(), picture, machine, batch)
            cases = _cases(run, held, picture, against, machine, count, batch, data, notes)
        measured = {name: {case: _told_apart(score, sides) for case, sides in cases.items()} for name, score in judges.items()}
        levels = {name: score(held.real).sort().values if held else torch.empty(0) for name, score in judges.items()}
        scored, left_out = _scored(found, judges, levels, model.picture, machine, batch)
    return {
        "run": called(run),
        **where,
        "judges": measured,
        "verdicts": [verdict(name, made) for name, made in measured.items()],
        "notes": notes,
        "pictures": scored,
        "left_out": left_out,
    }


def verdict(name: str, measured: Mapping[str, Record]) -> str:
    """Say in one plain sentence what a judge is worth, by the areas that were measured."""
    if not measured:
        return f"a {name} is no forensic detector, and nothing here says how far this one's scores can be trusted"
    worst, about = min(measured.items(), key=lambda item: item[1]["auroc"] - 2 * item[1]["error"])
    share = f"{about['auroc']:.0%}"
    if about["auroc"] - 2 * about["error"] < NEEDED:
        return (
            f"this {name} is no forensic detector: of a real picture and a fake, it finds the real one in {share} of all pairs "
            f"({worst}), where guessing finds 50%, and at least {NEEDED:.0%} beyond doubt would be needed"
        )
    return (
        f"this {name} tells these fakes from real pictures (at worst {share} of all pairs: {worst}), which says nothing of "
        "fakes from other programs, nor of pictures that were scaled, edited or saved in other ways"
    )


def write_scores(path: Path, said: Mapping[str, Any]) -> None:
    """Write what `judge` returned: .json holds all of it, .csv a line per picture.

    Raises:
        ConfigError: another suffix.
    """
    if path.suffix == ".json":
        write_whole(path, json.dumps(said, indent=1).encode())
    elif path.suffix == ".csv":
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["file", *(f"{name}_{what}" for name in said["judges"] for what in ("score", "real_below"))])
        for one in said["pictures"]:
            lines.writerow([one["file"], *(one[name][what] for name in said["judges"] for what in ("score", "real_below"))])
        write_whole(path, text.getvalue().encode())
    else:
        raise ConfigError(f"cannot write {path}: expected a name that ends in .json or .csv")


def _newest(run: str | Path, machine: Machine) -> tuple[Model, dict[str, Any]]:
    """Return a run's model, with the weights of its best or last checkpoint where it has any, and which those are."""
    folder = Path(run).expanduser()
    kept = folder / "checkpoints"
    if (kept / checkpoint.BEST).exists() or checkpoint.find(kept):
        which = "best" if (kept / checkpoint.BEST).exists() else "last"
        model, weights = chosen(folder, which, machine.device)
        name, step, _ = next(weights)
        return model, {"checkpoint": name, "step": step}
    model = load_model(find_model(run), machine.device)
    return model, {"checkpoint": "model", "step": int(model.info.get("step", 0))}


def _no_discriminator(run: str | Path, model: Model) -> str:
    """Say why a model has no discriminator that scores pictures; nothing where it has."""
    wanted = model.recipe.abilities.scores
    if not wanted:
        return f"the discriminator of {model.name} judges no picture alone (but pairs, or a picture with its labels)"
    if absent := [name for name in wanted if name in model.missing]:
        return (
            f"{run} holds no {' and no '.join(absent)}: imported models and models for others hold generators alone; give the "
            "folder of the run that trained it, which has its checkpoints"
        )
    return ""


def _data(run: str | Path, model: Model, data: Sequence[str] | None) -> tuple[Datasets | None, str]:
    """Return the data of a run; where they cannot be had, none and why."""
    folder = Path(run).expanduser()
    if not (folder / "config.json").exists():
        return None, f"{run} is no run folder, whose config.json says which pictures were held out"
    try:
        settings = Settings.of_run(folder, data)
        check_data_are_there(folder, settings)
        return open_run_data(settings, model), ""
    except ConfigError as error:
        return None, str(error)


def _exhibits(model: Model, datasets: Datasets, split: str, machine: Machine, count: int, batch: int) -> Exhibits:
    space = edited(datasets.space, model.space) if model.recipe.labelled else datasets.space
    made = exhibits(model.recipe, machine, datasets.splits[split], space, count, 0, batch)
    if not len(made.real) or not len(made.fake):
        raise ConfigError(
            f"the split {split!r} gives {len(made.real)} real pictures and {len(made.fake)} fakes; expected some of both: "
            "splits come from the table, the folders or the file names"
        )
    return made


def _cases(
    run: str | Path,
    held: Exhibits,
    picture: PictureFormat,
    against: Sequence[Path],
    machine: Machine,
    count: int,
    batch: int,
    data: Sequence[str] | None,
    notes: list[str],
) -> dict[str, Exhibits]:
    """Return what is told apart, by what it is called."""
    cases = {"its own fakes": held}
    both = [compressed(side, picture) for side in (held.real, held.fake)]
    if both[0] is not None and both[1] is not None:
        cases[f"both as JPEG, quality {QUALITY}"] = Exhibits(both[0], both[1])
    else:
        notes.append(f"JPEG does not hold pictures of {picture.words}")
    for other in against:
        model, _ = _newest(other, machine)
        model.recipe.to(machine.full_dtype)
        theirs, ours = (f"{p.width}x{p.height} pixels, {p.words}" for p in (model.picture.made, picture))
        if theirs != ours:
            raise ConfigError(f"{other} makes pictures of {theirs}; expected those of {run}: {ours}")
        datasets, why = _data(other, model, data)
        if datasets is None:
            raise ConfigError(why)
        cases[f"fakes of {called(other)}"] = Exhibits(held.real, _exhibits(model, datasets, "test", machine, count, batch).fake)
    return cases


def _scorer(network: Score, picture: PictureFormat, machine: Machine, batch: int) -> Score:
    """Return what scores stored values by a network that takes floats on the device; float32 on the CPU."""

    def score(stored: Tensor) -> Tensor:
        found = []
        with torch.inference_mode(), machine.autocast():
            for part in stored.split(batch):
                found.append(network(machine.take(to_float(part, picture))).float().cpu())
        return torch.cat(found)

    return score


def _told_apart(score: Score, sides: Exhibits) -> dict[str, Any]:
    area = auroc(score(sides.real), score(sides.fake))
    assert area is not None
    real, fake = len(sides.real), len(sides.fake)
    return {"auroc": area, "error": auroc_error(area, real, fake), "real": real, "fake": fake}


def _scored(
    found: Sequence[tuple[Path, str]],
    judges: Mapping[str, Score],
    levels: Mapping[str, Tensor],
    picture: PictureFormat,
    machine: Machine,
    batch: int,
) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Return what the judges say of every picture that can be read, and those that cannot, with the reason."""
    scored, left_out = list[dict[str, Any]](), list[list[str]]()
    made = picture.made
    for begin in range(0, len(found), batch):
        files, read = list[Path](), list[Tensor]()
        for path, _ in found[begin : begin + batch]:
            try:
                x, _ = fit_in(open_file(path, made), made, "crop", machine.device)
            except PictureError as error:
                left_out.append([str(path), str(error)])
            else:
                files.append(path)
                read.append(to_stored(x.cpu(), made))
        if not files:
            continue
        said: list[dict[str, Any]] = [{"file": str(path)} for path in files]
        for name, score in judges.items():
            for one, value in zip(said, score(torch.cat(read)), strict=True):
                below = torch.searchsorted(levels[name], value, right=False)
                share = float(below) / len(levels[name]) if len(levels[name]) else None
                one[name] = {"score": float(value), "real_below": share}
        scored += said
    return scored, left_out
