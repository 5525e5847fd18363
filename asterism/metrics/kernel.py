"""KID: the squared maximum mean discrepancy between two sets of features, unbiased at any number of pictures.

Demystifying MMD GANs (arXiv:1801.01401), Section 4. Shapes: N, M pictures, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return the cubic kernel (x y / D + 1)^3 of features [N, D] and [M, D]: float64 [N, M]."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def discrepancy(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    """Return the unbiased estimate of MMD^2 from kernel values [n, n], [n, n] and [n, n] of two sets of equal size, n >= 2."""
    n = len(xx)
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (n * (n - 1))
    return within - 2 * xy.mean()


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int, size: int, rng: torch.Generator
) -> tuple[float | None, float | None]:
    """Return KID and its spread, the mean and standard deviation over random subsets.

    Args:
        real, fake: features [N, D], [M, D].
        subsets: how many are drawn.
        size: pictures of each in a subset, at most half of the smaller set, so that subsets differ.
        rng: CPU generator of the subsets.

    Returns:
        None, None with fewer than four pictures on a side: no two of a half.
    """
    size = min(size, len(real) // 2, len(fake) // 2)
    if size < 2:
        return None, None
    xx, yy, xy = kernel(real, real), kernel(fake, fake), kernel(real, fake)
    found = []
    for _ in range(subsets):
        i = torch.randperm(len(real), generator=rng)[:size]
        j = torch.randperm(len(fake), generator=rng)[:size]
        found.append(discrepancy(xx[i][:, i], yy[j][:, j], xy[i][:, j]))
    values = torch.stack(found)
    return float(values.mean()), float(values.std()) if subsets > 1 else 0.0
