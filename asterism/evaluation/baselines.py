"""Pictures that need no network, for orientation: the mean of the target, its colour, the partner of the nearest source.

Shapes: N sources, K outputs of each, N K in the order of the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from asterism.evaluation.pictures import Pictures
from asterism.evaluation.tasks import Task, edits, partnered
from asterism.labels import LabelSpace
from asterism.metrics.truth import Partners

THUMBNAIL = 32
"""Side in pixels of the means that sources are compared by: how pictures lie, without their grain."""


class Means:
    """The mean training picture of every target, computed when it is first asked for.

    Args:
        sets: the held-out pictures.
        training: gives the training pictures of a dataset.
        batch: pictures at once.
    """

    def __init__(self, sets: Sequence[Pictures], training: Callable[[int], Pictures], batch: int) -> None:
        self.sets, self.training, self.batch = sets, training, batch
        self._made: dict[tuple[int, int | None, float], Tensor] = {}

    def of(self, task: Task) -> Tensor:
        """Return the mean of the training pictures that have a task's target: float32 [C, H, W]; NaN where none has it."""
        dataset = self.sets[task.pictures].set.dataset
        key = (dataset, task.index, task.value)
        if key not in self._made:
            assert task.index is not None
            pictures = self.training(dataset)
            rows = pictures.set.holding(task.index, task.value).nonzero()[:, 0].tolist()
            picture, total = pictures.picture, torch.zeros((), dtype=torch.float64)
            for begin in range(0, len(rows), self.batch):
                total = total + pictures.load(rows[begin : begin + self.batch]).double().sum(0)
            total = total.expand(picture.channels, picture.height, picture.width)
            self._made[key] = (total / len(rows) if rows else total * torch.nan).float()
        return self._made[key]


class Constant:
    """The mean training picture of the target (`mean`) or its mean colour (`colour`), whatever the source is."""

    def __init__(self, kind: str, means: Means) -> None:
        self.kind, self.means = kind, means

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor | None:
        """Return the same picture for all sources: [N K, C, H, W]; none where no training picture has the target."""
        y = self.means.of(task)
        if y.isnan().any():
            return None
        if self.kind == "colour":
            y = y.mean((1, 2), keepdim=True).expand_as(y)
        return y.expand(len(rows) * task.outputs, *y.shape)


class Nearest:
    """The partner of that training source which is nearest to the source: what looking up gives, without learning.

    Nearest in squared distance of pictures that are shrunk to at most THUMBNAIL pixels a side.

    Args:
        sets: the held-out pictures.
        training: gives the training pictures of a dataset.
        batch: pictures at once.
    """

    kind = "nearest"

    def __init__(self, sets: Sequence[Pictures], space: LabelSpace, training: Callable[[int], Pictures], batch: int) -> None:
        self.sets, self.space, self.training, self.batch = sets, space, training, batch
        self._known: dict[tuple[int, int | None, float], tuple[list[int], Tensor]] = {}

    def outputs(self, task: Task, rows: Sequence[int], x: Tensor, wanted: Tensor) -> Tensor | None:
        """Return the partners [N K, C, H, W]; none where no training picture has a partner with the target."""
        dataset = self.sets[task.pictures].set.dataset
        true, sources = self._pairs(dataset, task)
        if not true:
            return None
        place = torch.cdist(_thumbnails(x), sources).argmin(1).repeat_interleave(task.outputs)
        return self.training(dataset).load([true[i] for i in place.tolist()])

    def _pairs(self, dataset: int, task: Task) -> tuple[list[int], Tensor]:
        """Return the training pairs of a task: rows of the partners [M], and thumbnails [M, D] of the sources."""
        key = (dataset, task.index, task.value)
        if key not in self._known:
            pictures = self.training(dataset)
            partners = Partners(pictures.set.identity, pictures.labels)
            found = partnered(edits([pictures], self.space, 0), [partners])
            same = [t for t in found if (t.index, t.value) == (task.index, task.value)]
            rows = [row for t in same for row in t.rows]
            true = [row for t in same for row in partners.find(t.rows, t.wanted) if row is not None]
            parts = [_thumbnails(pictures.load(rows[i : i + self.batch])) for i in range(0, len(rows), self.batch)]
            self._known[key] = true, torch.cat(parts) if parts else torch.empty(0)
        return self._known[key]


def _thumbnails(x: Tensor) -> Tensor:
    """Shrink pictures [N, C, H, W] by means of their pixels: float32 [N, D]."""
    size = (min(x.shape[2], THUMBNAIL), min(x.shape[3], THUMBNAIL))
    return functional.adaptive_avg_pool2d(x, size).flatten(1)
