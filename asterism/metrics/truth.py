"""Comparison with the true picture of an edit, where the data have it: same identity, wanted labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Partners:
    """Finds, for a picture and wanted labels, the true picture.

    Args:
        identity: [M] what pictures of one thing share, or None where the data do not say.
        labels: [M, L] in {0, 1}.
    """

    def __init__(self, identity: Sequence[str] | None, labels: Tensor) -> None:
        self.identity = identity
        self._rows = (
            {} if identity is None else {self._key(i, row): k for k, (i, row) in enumerate(zip(identity, labels, strict=True))}
        )

    @staticmethod
    def _key(identity: str, labels: Tensor) -> tuple[str, tuple[int, ...]]:
        return identity, tuple(labels.int().tolist())

    def find(self, rows: Sequence[int], wanted: Tensor) -> list[int | None]:
        """Return the row of each picture's true partner for `wanted` labels [len(rows), L], or None."""
        if self.identity is None:
            return [None] * len(rows)
        return [self._rows.get(self._key(self.identity[r], w)) for r, w in zip(rows, wanted, strict=True)]


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference per picture, float64 [N], of pictures [N, C, H, W] in [-1, 1]."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def error_ratio(error: Tensor, unchanged: Tensor) -> float:
    """Return the error of translations relative to that of leaving the input as it is: 0 is perfect, 1 gains nothing.

    Args:
        error, unchanged: squared errors to the true pictures, [N].
    """
    return float(torch.as_tensor(error).sum() / torch.as_tensor(unchanged).sum())
