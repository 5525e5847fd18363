"""The measures that protocols choose from: meaning, and computation from a batch or two sets of features.

Shapes: N sources, K outputs of each; a measure of pictures gives [N K] values, NaN where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from asterism.evaluation.baselines import Means
from asterism.evaluation.extractors import Extractor, Perceptual
from asterism.evaluation.judge import JudgeClassifier
from asterism.evaluation.pictures import Pictures
from asterism.evaluation.tasks import Task
from asterism.labels import LabelSpace
from asterism.labels.space import TOLERANCE
from asterism.metrics.kernel import kernel_distance
from asterism.metrics.moments import Moments, frechet_distance
from asterism.metrics.neighbours import density_coverage, precision_recall
from asterism.metrics.perceptual import diversity
from asterism.metrics.structure import absolute_error, psnr, ssim
from asterism.metrics.truth import Partners


@dataclass
class MeasureContext:
    """What all measures may use.

    Args:
        classifier: of the data; none where they have no labels, or nothing asks for it.
        perceptual: what diversity is measured by, where there is a classifier.
        pixels: finds the label maps of pictures, where the sources are label maps.
        means: of the training pictures of targets.
        gallery: gives, for a set and wanted labels, the rows and features of the pictures that have just these labels.
        real: gives, for sets, a label or none, and its value, the features of the real training pictures that have it.
    """

    space: LabelSpace
    sets: Sequence[Pictures]
    partners: Sequence[Partners]
    means: Means
    classifier: JudgeClassifier | None
    extractor: Extractor
    perceptual: Perceptual | None
    pixels: JudgeClassifier | None
    parameters: Any
    batch: int
    gallery: dict[tuple[int, tuple[float, ...]], tuple[list[int], Tensor]]
    real: Callable[[tuple[int, ...], int | None, float], FeatureSet]

    @property
    def judge(self) -> JudgeClassifier:
        """The classifier, for what needs one."""
        assert self.classifier is not None
        return self.classifier


class Outputs:
    """One batch of a task: sources x [N, C, H, W], empty where there are none, and what a system made, y [N K, C, H, W]."""

    def __init__(
        self, bench: MeasureContext, task: Task, system: Any, rows: Sequence[int], wanted: Tensor, x: Tensor, y: Tensor
    ) -> None:
        self.bench, self.task, self.system, self.rows, self.y, self.sources = bench, task, system, rows, y, x
        if task.like:  # No sources, and nothing that is measured by them.
            return
        pictures = bench.sets[task.pictures]
        self.dataset, repeat = pictures.set.dataset, task.outputs
        self.x = x.repeat_interleave(repeat, 0)
        self.labels = pictures.labels[list(rows)].repeat_interleave(repeat, 0)
        self.known = pictures.known[list(rows)].repeat_interleave(repeat, 0)
        self.wanted = wanted.repeat_interleave(repeat, 0)
        found = bench.partners[task.pictures].find(rows, wanted)
        self.true_rows = [row for row in found for _ in range(repeat)]
        self.held = torch.tensor([row is not None for row in self.true_rows])

    @cached_property
    def logits(self) -> Tensor:
        """The classifier's logits of y, [N K, L]."""
        return self.bench.judge.logits(self.y)

    @cached_property
    def decided(self) -> Tensor:
        """The labels that the classifier finds in y, [N K, L]."""
        return self.bench.judge.recipe.space.decide(self.logits)

    @cached_property
    def certainty(self) -> Tensor:
        """By how much the classifier favours the wanted value of the edited label, [N K]; above 0 where it finds it."""
        index = self.task.index
        assert index is not None
        return margin(self.bench.judge.recipe.space, self.logits, self.wanted, index)

    @cached_property
    def features(self) -> Tensor:
        """The extractor's features of y, [N K, D]."""
        return self.bench.extractor(self.y)

    @cached_property
    def classes(self) -> tuple[Tensor, Tensor]:
        """The class of every pixel, int64 [N K, H, W]: as found in y, and of the source."""
        judge, pictures = self.bench.pixels, self.bench.sets[self.task.pictures]
        assert judge is not None
        true = pictures.taken(self.rows)[:, 0].long().repeat_interleave(self.task.outputs, 0)
        return judge.logits(self.y).argmax(1), true

    @cached_property
    def back(self) -> Tensor:
        """The cycle: y translated back to the source's labels."""
        result: Tensor = self.system.back(self.x, self.y, self.labels, self.wanted, self.dataset)
        return result

    @cached_property
    def truth(self) -> Tensor:
        """The true pictures, [N K, C, H, W]; the source where there is none, so that shapes hold."""
        pictures = self.bench.sets[self.task.pictures]
        rows = [true if true is not None else self.rows[i // self.task.outputs] for i, true in enumerate(self.true_rows)]
        return pictures.load(rows)

    def where_true(self, values: Tensor) -> Tensor:
        """Return values [N K], NaN where there is no true picture."""
        return torch.where(self.held, values.double(), torch.nan)


@dataclass(frozen=True)
class Measure:
    """One number per row of the table.

    Args:
        better: higher or lower.
        unit: `share`, `dB` or nothing.
        meaning: one sentence.
        of_pictures: [N K] values, or [N K, 2 m]: the sums of the first m over pictures are divided by those of the others.
        of_features: the number from real and generated `FeatureSet`s.
        own: measured where the target is the picture's own labels, and only there.
        kinds: rows that it makes sense for.
        of_maps: measured only where the sources are label maps.
    """

    name: str
    better: str
    unit: str
    meaning: str
    of_pictures: Callable[[Outputs], Tensor] | None = None
    of_features: Callable[[FeatureSet, FeatureSet, Any], float | None] | None = None
    own: bool = False
    kinds: tuple[str, ...] = ("translated", "generated", "nearest", "mean", "colour", "copy", "real", "random")
    of_maps: bool = False


class FeatureSet:
    """Features of many pictures in little room: their moments, and some of them, evenly spaced, for measures of neighbours.

    Args:
        dims: D.
        count: pictures that will come.
        keep: features kept.
    """

    def __init__(self, dims: int, count: int, keep: int) -> None:
        self.moments, self.kept, self.count, self.keep = Moments(dims), torch.empty(0, dims), count, keep
        self._pairs: dict[str, Pair] = {}

    def once(self, name: str, compute: Callable[[], Pair]) -> Pair:
        """Return two numbers that are found together, computed when the first is asked for."""
        if name not in self._pairs:
            self._pairs[name] = compute()
        return self._pairs[name]

    def add(self, features: Tensor) -> None:
        """Take in features [N, D]."""
        first = self.moments.count
        at = torch.arange(first, first + len(features))
        if self.keep < self.count:
            chosen = (at + 1) * self.keep // self.count > at * self.keep // self.count
            self.kept = torch.cat([self.kept, features[chosen]])
        else:
            self.kept = torch.cat([self.kept, features])
        self.moments.add(features)


def _reached(o: Outputs) -> Tensor:
    assert o.task.index is not None
    return o.bench.space.agree(o.decided, o.wanted)[:, o.task.index].double()


def _failed(o: Outputs) -> Tensor:
    return 1 - _reached(o)


def _preserved(o: Outputs) -> Tensor:
    assert o.task.index is not None
    kept, index = o.known.clone(), o.task.index
    kept[:, [index, *o.bench.space.cleared(index)]] = 0
    values = agreement(o.bench.space.agree(o.decided, o.labels), kept).double()
    if o.system.kind != "real":
        return values
    # Another picture of the target, as several outputs are, was never to keep the labels of the source.
    return o.where_true(values) if o.task.outputs == 1 else torch.full_like(values, torch.nan)


def margin(space: LabelSpace, logits: Tensor, wanted: Tensor, index: int) -> Tensor:
    """Return by how much logits [N, L] favour the wanted value of a label over its rivals: [N], above 0 where they do.

    The rivals of an alternative are the others, that of another label its absence, and those of a number the values
    that do not agree with it.
    """
    if index in space.numbers:
        return TOLERANCE - (logits[:, index].clamp(0, 1) - space.shares(wanted)[:, index]).abs()
    others = [i for i in space.siblings(index) if i != index]
    favour = logits[:, index] - (logits[:, others].amax(1) if others else 0.0)
    return torch.where(wanted[:, index] > 0, favour, -favour)


def agreement(same: Tensor, known: Tensor) -> Tensor:
    """Return, per picture, the share of the known labels [N, L] that are the same: [N]; NaN where none is known."""
    return (same * known).sum(1) / known.sum(1)


def _diversity(o: Outputs) -> Tensor:
    if o.task.outputs < 2:
        return torch.full((len(o.y),), torch.nan)
    how, device = o.bench.perceptual, o.bench.judge.machine.device
    assert how is not None
    with torch.inference_mode():
        found = diversity(o.y.unflatten(0, (-1, o.task.outputs)).to(device), how.stages, how.weights).cpu()
    return found.repeat_interleave(o.task.outputs)


Pair = tuple[float | None, float | None]


def _kid(real: FeatureSet, fake: FeatureSet, p: Any) -> Pair:
    rng = torch.Generator().manual_seed(p.seed)
    return fake.once("kid", lambda: kernel_distance(real.kept, fake.kept, subsets=p.kid_subsets, size=p.kid_size, rng=rng))


def _precision(real: FeatureSet, fake: FeatureSet, p: Any) -> Pair:
    return fake.once("precision", lambda: precision_recall(real.kept, fake.kept))


def _density(real: FeatureSet, fake: FeatureSet, p: Any) -> Pair:
    return fake.once("density", lambda: density_coverage(real.kept, fake.kept))


MADE = ("translated", "copy", "random")

REACHED = Measure("reached", "higher", "share", "target accuracy: the classifier finds the wanted label", _reached)
ERROR = Measure(
    "classification error", "lower", "share", "the classifier does not find the wanted label (StarGAN, Table 3)", _failed
)
PRESERVED = Measure(
    "preserved", "higher", "share", "the share of the other labels that the classifier finds unchanged", _preserved
)
FID = Measure(
    "fid",
    "lower",
    "",
    "Fréchet distance between features of outputs and of real training pictures of the target; FID if Inception's",
    of_features=lambda real, fake, p: frechet_distance(real.moments, fake.moments),
)
KID = Measure(
    "kid",
    "lower",
    "",
    "squared maximum mean discrepancy of the same features, unbiased at any number of pictures",
    of_features=lambda real, fake, p: _kid(real, fake, p)[0],
)
KID_SPREAD = Measure(
    "kid spread",
    "",
    "",
    "standard deviation of kid between random subsets: the uncertainty of kid at this number of pictures",
    of_features=lambda real, fake, p: _kid(real, fake, p)[1],
)
PRECISION = Measure(
    "precision",
    "higher",
    "share",
    "outputs that lie among real pictures of the target",
    of_features=lambda real, fake, p: _precision(real, fake, p)[0],
)
RECALL = Measure(
    "recall",
    "higher",
    "share",
    "real pictures of the target that lie among outputs",
    of_features=lambda real, fake, p: _precision(real, fake, p)[1],
)
DENSITY = Measure(
    "density",
    "higher",
    "",
    "real neighbourhoods that an output lies in, relative to their size; may exceed 1",
    of_features=lambda real, fake, p: _density(real, fake, p)[0],
)
COVERAGE = Measure(
    "coverage",
    "higher",
    "share",
    "real neighbourhoods that hold an output",
    of_features=lambda real, fake, p: _density(real, fake, p)[1],
)
DIVERSITY = Measure(
    "diversity", "higher", "", "perceptual distance between outputs of one input, mean over all pairs", _diversity
)
CYCLE_PSNR = Measure(
    "cycle psnr",
    "higher",
    "dB",
    "similarity of a picture to its translation there and back",
    lambda o: psnr(o.back, o.x),
    kinds=MADE,
)
CYCLE_SSIM = Measure(
    "cycle ssim",
    "higher",
    "",
    "structural similarity of a picture to its translation there and back",
    lambda o: ssim(o.back, o.x),
    kinds=MADE,
)
IDENTITY = Measure(
    "identity error",
    "lower",
    "share",
    "mean absolute change of pictures translated to their own labels, as a share of the range",
    lambda o: absolute_error(o.y, o.x),
    own=True,
    kinds=MADE,
)
