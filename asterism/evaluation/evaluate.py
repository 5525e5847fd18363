"""The job of `asterism evaluate`: measure a run by protocols, print tables, store the records."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from asterism import malloc
from asterism.cache import check_writable
from asterism.config import ConfigError
from asterism.console import make_console
from asterism.data.dataset import PictureSet
from asterism.data.pictures import PictureFormat
from asterism.evaluation.baselines import Constant, Means, Nearest
from asterism.evaluation.cache import digest_of, digest_of_weights
from asterism.evaluation.candidates import Copy, Generator, Real, untrained
from asterism.evaluation.checkpoints import chosen
from asterism.evaluation.codes import MEANING, TOLD, told_by_codes
from asterism.evaluation.extractors import CLASSIFIER, Extractor, extractor, of_classifier, perceptual
from asterism.evaluation.judge import JudgeClassifier, accuracy, trained_judge, verdict
from asterism.evaluation.measures import FeatureSet, MeasureContext
from asterism.evaluation.pictures import Pictures, spread
from asterism.evaluation.protocols import protocol as named
from asterism.evaluation.protocols.base import Parameters, Protocol
from asterism.evaluation.real import RealFeatures
from asterism.evaluation.run_data import as_taken, check_data_are_there, edited, layout, open_run_data
from asterism.evaluation.session import Spread, System, measure
from asterism.evaluation.sheets import draw
from asterism.evaluation.summary import broken_orders, summarise
from asterism.evaluation.table import show
from asterism.evaluation.tasks import edits, partnered
from asterism.inference.generator import check_batch_size
from asterism.labels import LabelSpace
from asterism.machine import Machine
from asterism.metrics.truth import Partners
from asterism.recipes.base import Recipe
from asterism.recipes.settings import Settings
from asterism.runs.scores import keep, key
from asterism.signals import on_signal
from asterism.terminal import counting

BATCH = 32
PARTIAL = ".partial-"
"""Prefix of the folders in `samples/` that hold partial results, from which the same call resumes."""


def evaluate(
    run: Path,
    *,
    protocols: Sequence[str] = (),
    split: str = "test",
    checkpoint: str = "model",
    features: str = "classifier",
    parameters: dict[str, Any] | None = None,
    random: bool = False,
    batch: int = BATCH,
    data: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "float32",
    classifier: dict[str, Any] | None = None,
    spread: Spread | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a run; print tables, and write `scores.json` and `samples/` into it.

    The same call goes on where it was interrupted.

    Args:
        run: the run's folder.
        protocols: names; none chooses by the recipe and the data: `stargan`, or `stargan_v2` for recipes with styles,
            `generation` for those that generate, and `truth` where the data have the true pictures of edits.
        split: "val" or "test".
        checkpoint: `model` (the model file's weights), `best`, `last`, `all`, or a step.
        features: the extractor, see `asterism.evaluation.extractors`.
        parameters: what differs from the protocols' own, by name (see `Parameters`).
        random: measure the untrained generator too.
        batch: outputs at once; changes no number beyond rounding.
        data: where the data are now; none where the run found them.
        device, precision: as in training, but float32 by default, so that numbers compare over machines.
        classifier: dotted settings of the classifier's training, for small data.
        spread: does the tasks of protocols in other processes, as `asterism.batch.evaluate` does.

    Returns:
        The records as written, by name.

    Raises:
        RunError: no run folder.
        ConfigError: no data, no pictures in the split, an unknown protocol or extractor, a protocol for other recipes, data
            without labels to train the classifier on, or weights whose outputs are not finite.
    """
    check_batch_size(batch)
    asked = [named(name) for name in protocols]
    changed = parameters or {}
    for protocol in asked or [named("stargan")]:
        protocol.settled(changed)  # Refuses what is too small.
    settings = Settings.of_run(run, data)
    check_data_are_there(run, settings)
    check_writable(run, "copy the run to a folder of your own, and measure that")
    machine = Machine.choose(device, precision)
    model, weights = chosen(run, checkpoint, machine.device)
    settings = as_taken(settings, model)
    datasets = open_run_data(settings, model)
    model.recipe.to(machine.full_dtype)
    held_out = [s for s in datasets.splits[split] if len(s)]
    if not held_out:
        found = ", ".join(f"{name} {sum(map(len, sets)):,}" for name, sets in datasets.splits.items())
        raise ConfigError(
            f"no picture is in the split {split!r} ({found}); splits come from the table, the folders or the file names"
        )
    space = edited(datasets.space, model.space) if model.recipe.labelled else datasets.space
    sets = [Pictures(s, model.picture, print) for s in held_out]
    # Before the classifier is trained, so that a slip does not cost minutes.
    other = None if features == CLASSIFIER else extractor(features, machine, model.picture)
    partners = partners_of(sets)
    asked = asked or usual(model.recipe, space, sets, partners, changed.get("pictures", 0))
    for protocol in asked:
        protocol.check(model.recipe)
        protocol.plan(sets, space, partners, model.recipe, protocol.settled(changed))
    judge, said, records = None, None, {}
    if other is None or not all(protocol.generates for protocol in asked):
        check_labelled(datasets.space)
        judge = trained_judge(run, settings, datasets.space, datasets.splits["train"], machine, classifier or {})
        with machine.backend_flags():
            said = verdict(accuracy(judge, sets, datasets.space, batch), judge)
    pixels = None
    if model.picture.taken.classes and any(m.of_maps for protocol in asked for m, _ in protocol.measures):
        own = dataclasses.replace(settings, data=dataclasses.replace(settings.data, classes=model.picture.taken.classes))
        smaller = {k: v for k, v in (classifier or {}).items() if k.startswith("train.")}
        pixels = trained_judge(run, own, datasets.space, datasets.splits["train"], machine, smaller, "pixel_classifier")
    floor = EvaluationSetup(space, sets, datasets.splits["train"], judge, machine, model.picture, other, batch, pixels=pixels)
    kept_so_far = f"what is measured is kept in {run}, except at most the last minute; run the same command to resume"
    with on_signal(kept_so_far), malloc.kept(), machine.backend_flags():
        for name, step, recipe in weights:
            for protocol in asked:
                facts = {"split": split, "checkpoint": name, "step": step, "classifier": said}
                record = one(run, floor, protocol, recipe, model.name, facts, changed, random, spread)
                records[key(record)] = record
                show(record, make_console())
    # Only now: what is interrupted at the last protocol does not do the first again. And what nobody went on with.
    for folder in (run / "samples").glob(f"{PARTIAL}*"):
        shutil.rmtree(folder, ignore_errors=True)
    return records


def one(
    run: Path,
    floor: EvaluationSetup,
    protocol: Protocol,
    recipe: Recipe,
    recipe_name: str,
    facts: dict[str, Any],
    parameters: dict[str, Any],
    random: bool,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Measure one recipe by one protocol, keep the record in the run, and return it."""
    began = time.perf_counter()
    settled = protocol.settled(parameters)
    head: dict[str, Any] = {
        "protocol": protocol.name,
        "version": protocol.version,
        "parameters": dataclasses.asdict(settled) | floor.about_networks(),
        "extractor": floor.extractor.about(),
        "data": floor.digest(protocol, settled),
        "precision": str(floor.machine.dtype).removeprefix("torch."),
        "model": digest_of_weights(recipe),
    } | facts
    kept = run / "samples" / f"{PARTIAL}{digest_of(json.dumps(head, sort_keys=True), str(random))}"
    kind = "generated" if protocol.generates else "translated"
    systems: list[System] = [Generator(kind, recipe, floor.machine, floor.sets, settled.seed)]
    if random or "random" in protocol.kinds:
        blank = untrained(recipe, recipe_name, settled.seed, floor.machine)
        systems.append(Generator("random", blank, floor.machine, floor.sets, settled.seed))
    record = head | floor.measure(protocol, settled, recipe, systems, folder=kept, show_progress=True, spread=spread)
    generator = systems[0]
    assert isinstance(generator, Generator)
    results = record.pop("results")
    record["cases"] = draw(run, key(record), floor.bench(settled), generator, results)
    record["notes"] += [f"order: {sentence}" for sentence in broken_orders(record)]
    if protocol.generates and (told := told_by_codes(recipe, floor.machine, floor.sets, floor.space, floor.batch)):
        record["matrices"][TOLD] = told
        record["notes"].append(MEANING)
    record["seconds"] = round(time.perf_counter() - began, 1)
    keep(run, record)
    return record


class EvaluationSetup:
    """The pictures and networks that all protocols of an evaluation share.

    Args:
        space: the labels, and which of them exclude one another in an edit.
        sets: the held-out pictures, which are translated.
        judge: the classifier; none for protocols that need none, with an extractor.
        training: the real pictures that features are compared with, one set per dataset.
        compared: the extractor; none takes the classifier.
        batch: outputs at once.
        say: told what a person should know.
        pixels: the classifier of pixels, where sources are label maps.
    """

    def __init__(
        self,
        space: LabelSpace,
        sets: Sequence[Pictures],
        training: Sequence[PictureSet],
        judge: JudgeClassifier | None,
        machine: Machine,
        picture: PictureFormat,
        compared: Extractor | None,
        batch: int,
        say: Callable[[str], None] = print,
        pixels: JudgeClassifier | None = None,
    ) -> None:
        self.pixels = pixels
        self.space, self.judge, self.machine, self.picture, self.batch, self.say = space, judge, machine, picture, batch, say
        assert compared or judge
        self.extractor = compared or of_classifier(judge)  # type: ignore[arg-type]
        self.perceptual = perceptual(judge, machine, picture) if judge else None
        self.sets, self.partners, self.training = list(sets), partners_of(sets), list(training)
        self._gallery: dict[tuple[int, tuple[float, ...]], tuple[list[int], Any]] = {}
        self._training: dict[tuple[int, int], Pictures] = {}
        self._real: dict[tuple[int, int], RealFeatures] = {}

    def about_networks(self) -> dict[str, str]:
        """Return what a record's parameters say of the networks that diversity and label maps are measured by."""
        said = {"diversity": f"{self.perceptual.name} {self.perceptual.digest}"} if self.perceptual else {}
        return said | ({"pixel_classifier": self.pixels.digest} if self.pixels else {})

    def digest(self, protocol: Protocol, parameters: Parameters) -> str:
        """Return a hash of all that is measured: held-out pictures, what pairs them, and training pictures to compare with.

        And of which labels exclude one another, since that decides what is an edit.
        """
        parts = [pictures.digest for pictures in self.sets]
        parts += [digest_of(*(pictures.set.identity or ())) for pictures in self.sets]
        parts.append(str((layout(self.space), self.space.alternatives, *self.space.conflicts)))
        if protocol.compares:
            datasets = dict.fromkeys(pictures.set.dataset for pictures in self.sets)
            parts += [self._training_pictures(d, parameters.real_pictures).digest for d in datasets]
        return digest_of(*parts)

    def bench(self, parameters: Parameters) -> MeasureContext:
        """Return what measures may use."""

        last: dict[tuple[Any, ...], FeatureSet] = {}  # One: all systems do a task before the next.

        def real(numbers: tuple[int, ...], index: int | None, value: float) -> FeatureSet:
            if (numbers, index, value) in last:
                return last[numbers, index, value]
            last.clear()
            sets = [self._real_features(self.sets[n].set.dataset, parameters.real_pictures) for n in numbers]
            held = torch.cat([features.of(index, value) for features in sets])
            made = FeatureSet(self.extractor.dims, len(held), parameters.kept)
            if len(held):
                made.add(held)
            last[numbers, index, value] = made
            return made

        return MeasureContext(
            space=self.space,
            sets=self.sets,
            partners=self.partners,
            means=Means(self.sets, lambda d: self._training_pictures(d, parameters.real_pictures), self.batch),
            classifier=self.judge,
            extractor=self.extractor,
            perceptual=self.perceptual,
            pixels=self.pixels,
            parameters=parameters,
            batch=self.batch,
            gallery=self._gallery,
            real=real,
        )

    def measure(
        self,
        protocol: Protocol,
        parameters: Parameters,
        recipe: Recipe,
        systems: list[System],
        *,
        folder: Path | None = None,
        show_progress: bool = False,
        kinds: Sequence[str] | None = None,
        spread: Spread | None = None,
    ) -> dict[str, Any]:
        """Return the measured parts of a record, and under `results` what they were made of.

        Args:
            systems: beside those for orientation that the protocol asks for.
            kinds: the rows that are wanted, if not all of the protocol's.
            spread: as for `evaluate`.
        """
        bench = self.bench(parameters)
        if not self.pixels:
            protocol = dataclasses.replace(protocol, measures=tuple(pair for pair in protocol.measures if not pair[0].of_maps))
        tasks = protocol.plan(self.sets, self.space, self.partners, recipe, parameters)
        wanted = protocol.kinds if kinds is None else kinds
        known: dict[str, Callable[[], System]] = {
            "nearest": lambda: Nearest(self.sets, self.space, bench.means.training, self.batch),
            "mean": lambda: Constant("mean", bench.means),
            "colour": lambda: Constant("colour", bench.means),
            "copy": Copy,
            "real": lambda: Real(self.sets, self.partners, parameters.seed),
        }
        orientation = [make() for kind, make in known.items() if kind in wanted]
        if protocol.compares:
            for pictures in self.sets:
                self._real_features(pictures.set.dataset, parameters.real_pictures)
        silent = nullcontext(lambda done, total: None)  # A second bar would stand still beside that of the training.
        doing = "generating" if protocol.generates else "translating"
        with counting(f"{protocol.name}: {doing} and measuring") if show_progress else silent as tell:
            systems = [*systems, *orientation]
            results = measure(protocol, bench, tasks, systems, folder=folder, progress=tell, spread=spread)
        return summarise(protocol, bench, results) | {"results": results}

    def _training_pictures(self, dataset: int, limit: int) -> Pictures:
        if (dataset, limit) not in self._training:
            whole = self.training[dataset]
            self._training[dataset, limit] = Pictures(whole.take(spread(len(whole), limit)), self.picture, self.say)
        return self._training[dataset, limit]

    def _real_features(self, dataset: int, limit: int) -> RealFeatures:
        if (dataset, limit) not in self._real:
            pictures = self._training_pictures(dataset, limit)
            self._real[dataset, limit] = RealFeatures(pictures, self.extractor, self.batch, self.say)
        return self._real[dataset, limit]


def usual(
    recipe: Recipe, space: LabelSpace, sets: Sequence[Pictures], partners: Sequence[Partners], limit: int
) -> list[Protocol]:
    """Return the protocols that suit a recipe and the data, of which `limit` sources are taken (0: all)."""
    true = recipe.abilities.translates and partnered(edits(sets, space, limit), partners)
    return [named(recipe.protocol)] + [named("truth")] * (bool(true) and recipe.protocol != "pairs")


def check_labelled(space: LabelSpace) -> None:
    """Raise ConfigError where the data have no labels that a classifier could be trained on."""
    if not space.num_labels:
        raise ConfigError(
            "the data have no labels to train the default feature network (a classifier) on: name another network "
            "with --extractor (inception, FILE.pt2 or module:Class), or give the pictures labels"
        )


def partners_of(sets: Sequence[Pictures]) -> list[Partners]:
    """Return, for each set, what finds the true picture of an edit."""
    return [Partners(pictures.set.identity, pictures.labels) for pictures in sets]
