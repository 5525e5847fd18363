"""Agreement of label maps, pixel by pixel (arXiv:1411.4038, Section 5).

Shapes: ids int64 [N, H, W], below K; float64 results.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_accuracy(found: Tensor, true: Tensor) -> Tensor:
    """Share of the pixels whose class is found: [N] in [0, 1]."""
    return (found == true).double().flatten(1).mean(1)


def overlaps(found: Tensor, true: Tensor, classes: int) -> Tensor:
    """Pixels in the intersection of each class's found and true area, then in their union: [N, 2 K].

    Over many pictures, the mean over classes of sums of the first by sums of the second is the mean intersection over union.
    """
    rows = torch.arange(len(found), device=found.device)[:, None, None]
    pairs = ((rows * classes + true) * classes + found).flatten()
    counts = torch.bincount(pairs, minlength=len(found) * classes**2).view(len(found), classes, classes).double()
    both = counts.diagonal(dim1=1, dim2=2)
    return torch.cat([both, counts.sum(1) + counts.sum(2) - both], 1)
