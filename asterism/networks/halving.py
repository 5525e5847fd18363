"""Convolutions with the halving after them folded in: equal sums, 2.25 times fewer products.

The mean of 2 x 2 neighbours of a 3x3 convolution is one 4x4 convolution of stride 2, whose kernel is the mean of the four
shifted copies of the 3x3 kernel. This is exact, borders included, since the padding is by one zero. As for the doubling of
`networks/cpu/resampling.py`, the 4x4 kernel is a function of the 3x3 weights, which stay the parameters.
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.networks.cpu.convolution import convolve, transpose
from asterism.networks.cpu.resampling import Product, four_copies
from asterism.networks.layers import Conv2d


class HalvingConv2d(Conv2d):
    """avg_pool2d(conv2d(x), 2) of a 3x3 convolution with padding 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, 1, 1)
        self.copies = nn.Buffer(four_copies() / 4, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        return convolve(x, self.kept(x, self.fold), self.bias, 2, 1)

    def transpose(self, g: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the gradient of the input, of height and width `size`, from that of the output."""
        return transpose(g, self.kept(g, self.fold), size, 2, 1)

    def fold(self, weight: Tensor) -> Tensor:
        """Return the 4x4 kernel [O, C, 4, 4] that convolves by [O, C, 3, 3] and averages."""
        return Product.apply(self.copies, weight)
