"""The measures that compare with the true picture of an edit, or with the label map that it was made from.

Shapes: as in `asterism.evaluation.measures`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asterism.evaluation.measures import Measure, MeasureContext, Outputs
from asterism.metrics.neighbours import nearest
from asterism.metrics.perceptual import diversity
from asterism.metrics.pixels import overlaps, pixel_accuracy
from asterism.metrics.structure import absolute_error, psnr, squared_error, ssim
from asterism.metrics.truth import masked_error, region


def _region(o: Outputs) -> Tensor:
    return region(o.x, o.truth, o.bench.parameters.region)


def _retrieved(o: Outputs) -> Tensor:
    values = torch.full((len(o.y),), torch.nan, dtype=torch.float64)
    identity = o.bench.sets[o.task.pictures].set.identity
    for i, true in enumerate(o.true_rows):
        if true is None or identity is None:
            continue
        rows, features = gallery(o.bench, o.task.pictures, o.wanted[i])
        if any(identity[row] != identity[true] for row in rows):  # Among pictures of one thing, that is always found.
            values[i] = float(identity[rows[int(nearest(o.features[i : i + 1], features))]] == identity[true])
    return values


def gallery(bench: MeasureContext, number: int, wanted: Tensor) -> tuple[list[int], Tensor]:
    """Return the rows of a set whose labels are just the wanted ones [L], and their features [m, D]."""
    key = (number, tuple(wanted.tolist()))
    if key not in bench.gallery:
        pictures = bench.sets[number]
        rows = bench.space.agree(pictures.labels, wanted).all(1).nonzero()[:, 0].tolist()
        parts = [bench.extractor(pictures.load(rows[i : i + bench.batch])) for i in range(0, len(rows), bench.batch)]
        bench.gallery[key] = rows, torch.cat(parts)
    return bench.gallery[key]


def _to_truth(o: Outputs) -> Tensor:
    how = o.bench.perceptual
    if how is None or how.name != "lpips":
        return torch.full((len(o.y),), torch.nan)
    pairs = torch.stack([o.y, o.truth], 1).to(o.bench.judge.machine.device)
    with torch.inference_mode():
        return o.where_true(diversity(pairs, how.stages, how.weights).cpu())


def _over_mean(o: Outputs) -> Tensor:
    mean = o.bench.means.of(o.task).expand_as(o.truth)
    return torch.stack([o.where_true(squared_error(o.y, o.truth)), o.where_true(squared_error(mean, o.truth))], 1)


ERROR_RATIO = Measure(
    "error ratio",
    "lower",
    "",
    "squared error to the true picture of the edit, relative to that of the unchanged input",
    lambda o: torch.stack([o.where_true(squared_error(o.y, o.truth)), o.where_true(squared_error(o.x, o.truth))], 1),
)
PSNR = Measure("psnr", "higher", "dB", "similarity to the true picture", lambda o: o.where_true(psnr(o.y, o.truth)))
SSIM = Measure("ssim", "higher", "", "structural similarity to the true picture", lambda o: o.where_true(ssim(o.y, o.truth)))
L1 = Measure(
    "l1",
    "lower",
    "share",
    "mean absolute error to the true picture, as a share of the range",
    lambda o: o.where_true(absolute_error(o.y, o.truth)),
)
ERROR_TO_MEAN = Measure(
    "error to mean",
    "lower",
    "",
    "squared error to the true picture, relative to that of the mean training picture of the target",
    _over_mean,
)
PIXEL_ACCURACY = Measure(
    "pixel accuracy",
    "higher",
    "share",
    "FCN score: pixels in which the classifier of pixels finds the class that the source has there",
    lambda o: pixel_accuracy(*o.classes),
    of_maps=True,
)
MEAN_IOU = Measure(
    "mean iou",
    "higher",
    "share",
    "FCN score: found and true area of a class, intersection over union, mean over classes",
    lambda o: overlaps(*o.classes, o.bench.sets[o.task.pictures].picture.taken.classes),
    of_maps=True,
)
LPIPS = Measure("lpips", "lower", "", "perceptual distance to the true picture", _to_truth)
INSIDE = Measure(
    "error inside",
    "lower",
    "share",
    "mean absolute error where the edit should change the picture, as a share of the range",
    lambda o: o.where_true(masked_error(o.y, o.truth, _region(o))),
)
OUTSIDE = Measure(
    "error outside",
    "lower",
    "share",
    "mean absolute error where the edit should change nothing, as a share of the range",
    lambda o: o.where_true(masked_error(o.y, o.truth, ~_region(o))),
)
RETRIEVED = Measure(
    "retrieved",
    "higher",
    "share",
    "recall at 1: of the real pictures with the wanted labels, the nearest in feature space is the true partner",
    _retrieved,
)
