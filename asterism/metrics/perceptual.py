"""Perceptual distance: LPIPS (arXiv:1801.03924), Eq. (1), as StarGAN v2's evaluation computes it.

Shapes: pictures x, y [N, C, H, W] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

EPSILON = 1e-10
Stages = Callable[[Tensor], Sequence[Tensor]]
"""Pictures [N, C, H, W] to feature maps [N, C_l, H_l, W_l], stage by stage."""


def unit_length(features: Tensor) -> Tensor:
    """Return feature maps [N, C, H, W] with channel vectors of length 1."""
    return features * (features.square().sum(1, keepdim=True) + EPSILON).rsqrt()


def stage_distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Return the distance between normalised feature maps of two pictures, stage by stage: float64 [N].

    The sum over stages of the mean over positions of the weighted squared differences of the channels.

    Args:
        a, b: from `unit_length`, per stage [N, C_l, H_l, W_l].
        weights: per stage [C_l]; none counts all channels alike.
    """
    total = torch.zeros(len(a[0]), dtype=torch.float64, device=a[0].device)
    for stage, (p, q) in enumerate(zip(a, b, strict=True)):
        squares = (p - q).double().square().mean((2, 3))
        total += squares.sum(1) if weights is None else squares @ weights[stage].double()
    return total


def diversity(x: Tensor, stages: Stages, weights: Sequence[Tensor] | None = None) -> Tensor:
    """Return the mean distance over all pairs of K outputs of one input: float64 [N].

    Args:
        x: float32 [N, K, C, H, W] with K of at least 2; K = 10 gives the 45 pairs of StarGAN v2.
    """
    count, outputs = x.shape[:2]
    maps = [unit_length(f).unflatten(0, (count, outputs)) for f in stages(x.flatten(0, 1))]
    pairs = [
        stage_distance([m[:, i] for m in maps], [m[:, j] for m in maps], weights) for i, j in combinations(range(outputs), 2)
    ]
    return torch.stack(pairs).mean(0)
