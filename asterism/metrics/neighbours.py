"""Fidelity and coverage apart, by balls around features that reach to the k-th neighbour.

Precision and recall: Kynkäänniemi et al. (arXiv:1904.06991), Eqs. (1) to (3), k = 3. Density and coverage: Naeem et al.
(arXiv:2002.09797), Eqs. (3) and (4), k = 5. Shapes: N real, M generated pictures, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5


def radii(x: Tensor, k: int) -> Tensor:
    """Return the distance from each of the features [N, D] to its k-th nearest other: float64 [N]."""
    # The smallest of k + 1 is the distance to itself.
    return _distances(x, x).kthvalue(k + 1, dim=1).values


def precision_recall(real: Tensor, fake: Tensor, k: int = PRECISION_NEIGHBOURS) -> tuple[float | None, float | None]:
    """Return the share of generated pictures within a real one's ball, and of real pictures within a generated one's.

    None, None where one side has k pictures or fewer.
    """
    if min(len(real), len(fake)) <= k:
        return None, None
    between = _distances(real, fake)
    precision = (between <= radii(real, k)[:, None]).any(0).double().mean()
    recall = (between <= radii(fake, k)[None, :]).any(1).double().mean()
    return float(precision), float(recall)


def density_coverage(real: Tensor, fake: Tensor, k: int = DENSITY_NEIGHBOURS) -> tuple[float | None, float | None]:
    """Return how many real balls a generated picture lies in, over k, and the share of real balls that hold one.

    Density may exceed 1. None, None where there are k real pictures or fewer, or none generated.
    """
    if len(real) <= k or not len(fake):
        return None, None
    inside = _distances(real, fake) <= radii(real, k)[:, None]
    return float(inside.double().sum(0).mean() / k), float(inside.any(1).double().mean())


def nearest(query: Tensor, gallery: Tensor) -> Tensor:
    """Return, for each feature of `query` [N, D], the index of the closest in `gallery` [M, D]: int64 [N]."""
    return _distances(query, gallery).argmin(1)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Differences, not the expanded square: equal features are exactly 0 apart, so a copy lies in its own ball.
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
