"""The judging classifier: a ResNet-18, trained once per dataset on its real training pictures.

StarGAN (arXiv:1711.09020), Section 5.4. A trained one is kept in the cache under the hash of what it was trained on, so
that all runs on the same data are judged by the same network and their numbers compare.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism import shards
from asterism.cache import writable_cache
from asterism.config import DataConfig, fields_of, to_dict
from asterism.data.dataset import PictureSet
from asterism.data.halves import divided
from asterism.data.pictures import PictureError
from asterism.display import Display
from asterism.engine.distributed import Processes
from asterism.engine.run import start
from asterism.evaluation.cache import cache_folder, digest_of, digest_of_weights
from asterism.evaluation.pictures import Pictures
from asterism.labels import LabelSpace
from asterism.lock import locked
from asterism.machine import Machine
from asterism.recipes.base import Recipe
from asterism.recipes.model import load_model
from asterism.recipes.settings import Settings
from asterism.signals import Stopped, on_signal
from asterism.storage.model_file import FILE_NAME, ModelError
from asterism.storage.run_files import read_log
from asterism.storage.whole import write_whole

EPOCHS, LEAST_STEPS, MOST_STEPS, BATCH = 5, 200, 4000, 32
LONG = 4 * LEAST_STEPS
"""From so many steps on, the least are tried first: where domains are told apart at a glance, all others change nothing."""

SURE = 0.01
"""Mean loss of the last steps of such a trial, most of whose pictures it sees for the first time, that makes it enough."""

NEEDED = 0.85
"""Scores are void if the classifier's accuracy on real pictures (`accuracy`) is below this."""


class JudgeClassifier:
    """A trained classifier.

    Args:
        recipe: with `classify`, on the machine's device.
        machine: where and how it computes.
    """

    def __init__(self, recipe: Recipe, machine: Machine) -> None:
        self.recipe, self.machine = recipe, machine
        self.network: Any = recipe.networks["classifier"]
        self.digest = digest_of_weights(self.network)
        recipe.to(machine.full_dtype)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits [N, L] of pictures [N, C, H, W]; float32 on the CPU."""
        with torch.inference_mode(), self.machine.autocast():
            return self.recipe.classify(x.to(self.machine.device, self.machine.full_dtype)).float().cpu()

    def decide(self, x: Tensor) -> Tensor:
        """Return the labels [N, L] that it finds in pictures [N, C, H, W]; on the CPU."""
        return self.recipe.space.decide(self.logits(x))


def trained_judge(
    run: Path,
    settings: Settings,
    space: LabelSpace,
    training: Sequence[PictureSet],
    machine: Machine,
    overrides: dict[str, Any],
    name: str = "classifier",
) -> JudgeClassifier:
    """Return the classifier of a run's data, from the cache or, the first time, trained in the run's folder.

    Args:
        settings: the run's; its data are what the classifier is trained on.
        space: the labels of the data.
        training: the training pictures, one set per dataset.
        overrides: dotted settings of the classifier's training, for small data.
        name: `classifier` finds the labels of pictures, `pixel_classifier` the label maps.

    Raises:
        LockedError: another process trains it for this run.
        Stopped: a signal ended the training; it goes on from its checkpoint the next time.
    """
    labelled = sum(int(pictures.known.any(1).sum()) for pictures in training)
    judge = classifier_settings(settings, labelled, overrides, name)
    layout = [(g.kind, g.labels, g.exclusive) for g in space.groups]
    ranges = [(g.low, g.high) for g in space.groups if g.kind == "number"]
    matters = json.dumps([what_matters(judge), [*layout, *ranges]], sort_keys=True)
    key = digest_of(matters, *(content_of(pictures) for pictures in training))
    shared = cache_folder() / "classifiers" / f"{key}.safetensors"
    try:
        return JudgeClassifier(load_model(shared, machine.device).recipe, machine)
    except ModelError as error:
        if shared.exists():
            print(f"{error}; training it again")
    writable_cache("classifiers")
    folder = run / name / key
    for other in (run / name).glob("*"):  # Of other pictures or settings.
        if other != folder:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    print(f"training the judging {name.replace('_', ' ')} (once per dataset)")
    # Not `engine.run.run`, which would join the processes of a distributed run: this is the work of one.
    fast = Machine.choose(machine.device.type, "auto")  # Whatever precision its verdicts are then asked for in.
    again = "the same command goes on from there"
    kept = f"the judging classifier is not trained yet; what {folder} holds of it is kept: {again}"
    brief = replace(judge, train=replace(judge.train, steps=LEAST_STEPS, decay_steps=LEAST_STEPS))
    trials = [(brief, folder / "brief")] if name == "classifier" and judge.train.steps >= LONG else []
    with locked(folder, remedy="or stop it"), on_signal(kept):
        for tried, where in [*trials, (judge, folder)]:
            trainer = start(tried, where, None, fast, Processes(), listener=Display())
            outcome = trainer.train()
            if outcome.signal is not None:
                at = f"at step {outcome.step:,} of {trainer.config.steps:,} in {where}"
                raise Stopped(outcome.signal, f"the judging classifier is kept {at}: {again}")
            loss = read_log(where / "log.jsonl")[-1]["terms"]["classifier/class"] if tried is brief else 0.0
            if loss < SURE:
                break
            print(f"after {LEAST_STEPS} steps it is not sure enough (loss {loss:.3g}): it is trained anew, at full length")
    write_whole(shared, (where / FILE_NAME).read_bytes(), sync=True)
    return JudgeClassifier(load_model(shared, machine.device).recipe, machine)


def classifier_settings(settings: Settings, pictures: int, overrides: dict[str, Any], name: str = "classifier") -> Settings:
    """Return the settings of a classifier's training on a run's data."""
    small = max(settings.data.size) < 128  # Where half of ResNet-18's width is plenty, and a quarter of the time.
    steps = max(LEAST_STEPS, min(MOST_STEPS, math.ceil(EPOCHS * pictures / BATCH)))
    chosen: dict[str, float] = {"train.steps": steps, "train.decay_steps": steps, "train.batch_size": BATCH}
    chosen |= {"recipe.width": 32 if small else 64, "train.checkpoint_every": 200, "train.log_every": 100, "train.ema_kimg": 0}
    chosen |= {"train.keep": 1, "train.evaluate_every": 0, "data.zoom": 1.0}
    if name == "pixel_classifier":  # Of a picture it learns as much as there are pixels.
        chosen |= {"recipe.width": 16 if small else 32, "train.batch_size": BATCH // 4}
    judge = Settings.resolve(name, overrides=chosen | overrides)
    # The same for all recipes, whose presets crop and balance as they please: one classifier judges all runs on some data.
    return replace(judge, data=replace(settings.data, zoom=1.0, balance=False))


FIRST = ("size", "crop", "flip", "zoom", "channels", "value_range", "balance")
"""Settings of data that 0.1.0 had. Later ones count where they are not the default, so that its classifiers are found again."""


def what_matters(judge: Settings) -> dict[str, Any]:
    """Return the settings that the trained classifier depends on: not where files lie, nor device and log.

    Nor the words that chose the labels, since the label space says what they came to.
    """
    matters: dict[str, Any] = {"length": [judge.train.steps, judge.train.epochs]}
    for name, section in (("recipe", judge.recipe), ("data", judge.data), ("train", judge.train)):
        fixed = [field for field, about in fields_of(type(section)).items() if not about.metadata.get("resumable")]
        matters[name] = {field: to_dict(section)[field] for field in fixed}
    words = ("labels", "pattern", "exclusive", "conflicts", "numbers", "unlabelled", "pairs")
    usual = to_dict(DataConfig())
    said = matters["data"].items()
    matters["data"] = {k: v for k, v in said if k not in words and (k in FIRST or v != usual[k])}
    return matters


def content_of(pictures: PictureSet) -> str:
    """Return a hash of the files' contents, or of the pixels where they are packed, and of the labels."""

    def content(path: Path) -> bytes:
        if pictures.pack is None:
            return shards.content_of(divided(path)[0])
        try:
            return pictures.pack.pictures[pictures.pack.place(path)].tobytes()
        except PictureError:  # Broken when it was packed: training takes another in its place.
            return b""

    return digest_of(
        *(digest_of(content(path)) for path in pictures.paths),
        pictures.labels.float().numpy().tobytes(),
        pictures.known.float().numpy().tobytes(),
    )


def accuracy(judge: JudgeClassifier, sets: Sequence[Pictures], space: LabelSpace, batch: int) -> dict[str, float]:
    """Return, per label, the accuracy on real pictures, labels alike however many pictures have them.

    Of a label that excludes others the share of its pictures on which it is found, so that their mean is that of the classes;
    of any other the mean share right of those with and those without it, and of a number of those in the two halves of its
    range. Labels of which that says nothing are left out.
    """
    right = torch.zeros(2, space.num_labels, dtype=torch.float64)
    count = torch.zeros(2, space.num_labels, dtype=torch.float64)
    for pictures in sets:
        for begin in range(0, len(pictures), batch):
            rows = range(begin, min(begin + batch, len(pictures)))
            labels, known = pictures.labels[begin : rows.stop], pictures.known[begin : rows.stop]
            same = space.agree(judge.decide(pictures.load(rows)), labels).double()
            for value in (0, 1):
                counts = known * (space.upper(labels) == value)
                right[value] += (same * counts).sum(0)
                count[value] += counts.sum(0)
    excluding = {i for choice in space.alternatives for i in choice}
    shares = [float((right / count)[:, i][int(i in excluding) :].nanmean()) for i in range(space.num_labels)]
    return {name: share for name, share in zip(space.names, shares, strict=True) if not math.isnan(share)}


def verdict(per_label: dict[str, float], judge: JudgeClassifier) -> dict[str, Any]:
    """Return what scores.json says of the classifier."""
    mean = sum(per_label.values()) / len(per_label) if per_label else 0.0
    return {"digest": judge.digest, "accuracy": mean, "labels": per_label, "needed": NEEDED, "void": mean < NEEDED}
