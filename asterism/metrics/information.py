"""Mutual information of two labellings, in bits.

Entropies are estimated as by Miller and Madow (Miller 1955): that of the shares that occur, and (K - 1) / 2N nats for K values,
which make up for what few samples hide. Without it labellings of few samples seem to tell one another what they do not.

Shapes: labellings x, y int64 [N].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(x: Tensor) -> float:
    """Return the entropy of a labelling: H = -sum p log2 p, and (K - 1) / (2 N ln 2) for K values in N samples."""
    counts = x.unique(return_counts=True)[1].double()
    p = counts / counts.sum()
    return float(-(p * p.log2()).sum() + (len(p) - 1) / (2 * len(x) * math.log(2)))


def mutual_information(x: Tensor, y: Tensor) -> float:
    """Return what one labelling says of the other: I = H(x) + H(y) - H(x, y), at least 0."""
    both = torch.stack([x, y], 1).unique(dim=0, return_inverse=True)[1]
    return max(entropy(x) + entropy(y) - entropy(both), 0.0)


def parts(values: Tensor, count: int) -> Tensor:
    """Return numbers [N] as a labelling: in which of `count` parts, of as many samples each, every one lies."""
    ends = values.double().quantile(torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:-1])
    return torch.bucketize(values.double(), ends)
