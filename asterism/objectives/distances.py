"""Distances between pictures, or other tensors of one shape."""

from __future__ import annotations

from torch import Tensor

from asterism.machine import at_least_float32


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference over all elements of a sample: mean|x - y|. StarGAN (arXiv:1711.09020), Eq. (4).

    x and y are [N, ...] of one shape; the result [N] is at least float32, >= 0, and at most 2 for pictures in [-1, 1].
    """
    return (at_least_float32(x) - at_least_float32(y)).abs().flatten(1).mean(1)


def squared(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference over all elements of a sample: mean(x - y)^2, at least float32 [N]; arguments as for `l1`."""
    return (at_least_float32(x) - at_least_float32(y)).square().flatten(1).mean(1)
