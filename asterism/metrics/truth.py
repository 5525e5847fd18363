"""Comparison with the true picture of an edit, where the data have it: same identity, wanted labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from asterism.metrics.structure import RANGE


class Partners:
    """Finds, for a picture and wanted labels, the true picture.

    Args:
        identity: [M] what pictures of one thing share, empty for a picture of which the data do not say; or None.
        labels: [M, L].
    """

    def __init__(self, identity: Sequence[str] | None, labels: Tensor) -> None:
        self.identity = identity
        stated = enumerate(zip(identity or (), labels, strict=identity is not None))
        self._rows = {self._key(i, row): k for k, (i, row) in stated if i}

    @staticmethod
    def _key(identity: str, labels: Tensor) -> tuple[str, tuple[float, ...]]:
        return identity, tuple(labels.tolist())

    def find(self, rows: Sequence[int], wanted: Tensor) -> list[int | None]:
        """Return the row of each picture's true partner for `wanted` labels [len(rows), L], or None."""
        if self.identity is None:
            return [None] * len(rows)
        return [self._rows.get(self._key(self.identity[r], w)) for r, w in zip(rows, wanted, strict=True)]


def region(x: Tensor, truth: Tensor, threshold: float) -> Tensor:
    """Return where an edit should change pictures x [N, C, H, W] to their true partners: bool [N, 1, H, W].

    Args:
        threshold: share of the full range that any channel must differ by, above what compression leaves.
    """
    return (x - truth).abs().amax(1, keepdim=True) > threshold * RANGE


def masked_error(y: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Return the mean absolute error over the pixels of a mask [N, 1, H, W], as a share of the full range: float64 [N].

    NaN where the mask is empty.
    """
    error = (y.double() - truth.double()).abs().mean(1, keepdim=True) / RANGE
    return (error * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
