"""Convolutions with the doubling before them folded in: equal sums, 2.25 times fewer products.

A 3x3 convolution of a map enlarged by repeating pixels is one transposed 4x4 convolution of stride 2, whose kernel is the sum
of the four shifted copies of the flipped kernel. This is exact, borders included, since all padding is by one zero. The 4x4
kernel is a function of the 3x3 weights, which stay the parameters.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from asterism.networks.cpu.convolution import Conv2d, transpose


class DoublingConv2d(Conv2d):
    """conv2d(interpolate(x, scale_factor=2, mode="nearest")) of a 3x3 convolution with padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)
        self.copies = nn.Buffer(four_copies().flip(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, 2 h, 2 w]."""
        y = transpose(x, self.kept(x, self.fold), (2 * x.shape[2], 2 * x.shape[3]), 2, 1)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

    def fold(self, weight: Tensor) -> Tensor:
        """Return the 4x4 kernel [C, O, 4, 4] whose transpose repeats pixels and convolves by [O, C, 3, 3]."""
        return Product.apply(self.copies, weight, True)


def four_copies() -> Tensor:
    """Return the matrix [16, 9] that adds up the four copies of a 3x3 kernel that fit into 4x4."""
    side = torch.eye(4, 3) + torch.eye(4, 3).roll(1, 0)
    return torch.kron(side, side)


class Product(torch.autograd.Function):
    """Places of a kernel [O, C, k, k] times a matrix [l * l, k * k]: [O, C, l, l], or turned [C, O, l, l]; channels last.

    It saves no tensor for its backward, since kernels are kept and differentiated several times.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, kernel: Tensor, turned: bool = False) -> Tensor:
        ctx.matrix, ctx.turned = matrix, turned
        kernel = kernel.contiguous().transpose(0, 1) if turned else kernel  # By way of rows: four times as fast.
        count, channels, *_ = kernel.shape
        with torch.autocast(kernel.device.type, enabled=False):
            places = matrix @ kernel.permute(0, 2, 3, 1).reshape(count, -1, channels)
        return places.unflatten(1, (isqrt(len(matrix)), -1)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, None]:
        return None, Product.apply(ctx.matrix.t(), g, ctx.turned), None
