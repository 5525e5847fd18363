"""Distances between pictures and between numbers, and within pictures."""

from __future__ import annotations

from torch import Tensor

from asterism.machine import at_least_float32


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference over all elements of a sample: mean|x - y|. StarGAN (arXiv:1711.09020), Eq. (4).

    Args:
        x, y: [N, ...] of one shape.

    Returns:
        [N], at least float32, >= 0; at most 2 for pictures in [-1, 1].
    """
    return (at_least_float32(x) - at_least_float32(y)).abs().flatten(1).mean(1)


def numbers(read: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of the known numbers of a sample: mean_l (D_l(x) - c_l)^2. GANimation (arXiv:1807.09251), Sec. 4.2.

    Args:
        read, known: [N, L].
        wanted: [N, L or more], of which the first L count; shares of their range.

    Returns:
        [N], at least float32, >= 0; 0 where nothing is known.
    """
    error = at_least_float32(read) - wanted[:, : read.shape[1]]
    return (error.square() * known).sum(1) / known.sum(1).clamp(1)


def total_variation(x: Tensor) -> Tensor:
    """Sum over a sample [N, C, H, W] of the absolute differences of neighbouring pixels, [N]. GANimation's published code."""
    x = at_least_float32(x)
    return x.diff(dim=2).abs().flatten(1).sum(1) + x.diff(dim=3).abs().flatten(1).sum(1)
