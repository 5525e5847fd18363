"""Perceptual distance: LPIPS (arXiv:1801.03924), Eq. (1), as StarGAN v2's evaluation computes it.

Shapes: pictures x, y [N, C, H, W] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EPSILON = 1e-10
Stages = Callable[[Tensor], Sequence[Tensor]]
"""Pictures [N, C, H, W] to feature maps [N, C_l, H_l, W_l], stage by stage."""


def unit_length(features: Tensor) -> Tensor:
    """Return feature maps [N, C, H, W] with channel vectors of length 1."""
    return features * (features.square().sum(1, keepdim=True) + EPSILON).rsqrt()


def diversity(x: Tensor, stages: Stages, weights: Sequence[Tensor] | None = None) -> Tensor:
    """Return the mean distance over all pairs of K outputs of one input: float64 [N].

    The distance of two pictures is the sum over stages of the mean over positions of the weighted squared differences of the
    channels. The squared differences of all pairs sum to K times those from the mean, so that K distances give what
    K (K - 1) / 2 would.

    Args:
        x: float32 [N, K, C, H, W] with K of at least 2; K = 10 gives the 45 pairs of StarGAN v2.
        weights: per stage [C_l]; none counts all channels alike.
    """
    count, outputs = x.shape[:2]
    total = torch.zeros(count, dtype=torch.float64, device=x.device)
    for stage, features in enumerate(stages(x.flatten(0, 1))):
        maps = unit_length(features).double().unflatten(0, (count, outputs))
        squares = (maps - maps.mean(1, keepdim=True)).square().mean((3, 4)).sum(1)
        total += squares.sum(1) if weights is None else squares @ weights[stage].double()
    return total * 2 / (outputs - 1)
