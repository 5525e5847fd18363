"""Convolutions with the halving after them or the doubling before them folded in: equal sums, 2.25 times fewer products.

The mean of 2 x 2 neighbours of a 3x3 convolution is one 4x4 convolution of stride 2, whose kernel is the mean of the four
shifted copies of the 3x3 kernel. A 3x3 convolution of a map enlarged by repeating pixels is one transposed 4x4 convolution of
stride 2, whose kernel is the sum of the four shifted copies of the flipped kernel. Both are exact, borders included, since
all padding is by one zero. The 4x4 kernel is a function of the 3x3 weights, which stay the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.networks.convolution import Conv2d, convolve, transpose


class HalvingConv2d(Conv2d):
    """avg_pool2d(conv2d(x), 2) of a 3x3 convolution with padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        return convolve(x, self.kept(x, halving), self.bias, 2, 1)

    def transpose(self, g: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the gradient of the input, of height and width `size`, from that of the output."""
        return transpose(g, self.kept(g, halving), size, 2, 1)


class DoublingConv2d(Conv2d):
    """conv2d(interpolate(x, scale_factor=2, mode="nearest")) of a 3x3 convolution with padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, 2 h, 2 w]."""
        y = transpose(x, self.kept(x, doubling), (2 * x.shape[2], 2 * x.shape[3]), 2, 1)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]


def halving(weight: Tensor) -> Tensor:
    """Return the 4x4 kernel [O, C, 4, 4] that convolves by [O, C, 3, 3] and averages."""
    return shifted(weight, partial(torch.lerp, weight=0.5))


def doubling(weight: Tensor) -> Tensor:
    """Return the 4x4 kernel [C, O, 4, 4] whose transpose repeats pixels and convolves by [O, C, 3, 3]."""
    return shifted(weight.flip(2, 3), torch.add).transpose(0, 1)


def shifted(weight: Tensor, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Join the four copies of a 3x3 kernel that fit into 4x4: in pairs, by the sum or the mean.

    Kernels are kept and differentiated several times, so nothing here may save a tensor for its backward.
    """
    rows = join(F.pad(weight, (0, 0, 0, 1)), F.pad(weight, (0, 0, 1, 0)))
    return join(F.pad(rows, (0, 1)), F.pad(rows, (1, 0)))
