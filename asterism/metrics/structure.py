"""Likeness of two pictures, pixel by pixel and window by window.

Shapes: pictures x, y [N, C, H, W] in [-1, 1]; one float64 value per pair, [N].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RANGE = 2.0  # Of values in [-1, 1].
SIGMA, WINDOW = 1.5, 11
EQUAL = 100.0
"""PSNR of equal pictures, in dB: more than 16-bit rounding allows, and finite so that means exist."""


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def absolute_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference as a share of the full range: in [0, 1]."""
    return (x.double() - y.double()).abs().flatten(1).mean(1) / RANGE


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(range^2 / mean squared difference), at most EQUAL."""
    return (10 * torch.log10(RANGE**2 / squared_error(x, y))).clamp(max=EQUAL)


def sharpness(x: Tensor) -> Tensor:
    """Mean squared discrete Laplacian, four neighbours less four times the pixel, where all of them lie in the picture.

    Focus measures compare pictures by it (Pech-Pacheco et al. 2000); noise raises it as detail does.
    """
    x = x.double()
    middle = x[:, :, 1:-1, 1:-1]
    around = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
    return (around - 4 * middle).square().flatten(1).mean(1)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, Eq. 13): a Gaussian window of 11 x 11, sigma 1.5, K1 0.01, K2 0.03.

    Over whole windows only, mean over windows and channels; a picture smaller than the window takes a smaller one.
    """
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    x, y = x.double(), y.double()
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mean_x**2
    variance_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    like = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (like / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))).flatten(1).mean(1)


def _blur(x: Tensor) -> Tensor:
    """Return the means over Gaussian windows that lie in the picture."""
    channels = x.shape[1]
    for axis in (2, 3):
        size = min(WINDOW, x.shape[axis] - (x.shape[axis] + 1) % 2)  # Odd.
        at = torch.arange(size, dtype=x.dtype, device=x.device) - size // 2
        weights = torch.exp(-(at**2) / (2 * SIGMA**2))
        weights = weights / weights.sum()
        shape = [channels, 1, 1, 1]
        shape[axis] = size
        kernel = weights.view([1, 1, size, 1] if axis == 2 else [1, 1, 1, size]).expand(shape)
        x = functional.conv2d(x, kernel, groups=channels)
    return x
