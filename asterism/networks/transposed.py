"""Transposed convolutions, the doublings of U-Nets and ResNet generators, with products of matrices where these are faster.

What is faster, and the products, are in `networks/cpu/convolution.py`: a transposed convolution is a convolution's gradient.

Shapes: x [N, O, h, w], w [O, C, k, k], y [N, C, H, W].
"""

from __future__ import annotations

from torch import Tensor, nn

from asterism.networks.cpu import handwritten
from asterism.networks.cpu.convolution import gradient_pays, transpose


class ConvTranspose2d(nn.ConvTranspose2d):
    """PyTorch's layer, through `transpose` where that pays; zero padding, no groups."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [N, O, h, w] to [N, C, H, W]."""
        stride, padding = self.stride[0], int(self.padding[0])
        if not handwritten.applies(x) or not gradient_pays(x, self.weight, x.shape[2:], stride):
            return super().forward(x, output_size)
        sides = zip(x.shape[2:], self.kernel_size, self.output_padding, strict=True)
        size = tuple((few - 1) * stride - 2 * padding + k + odd for few, k, odd in sides)
        y = transpose(x, self.weight, size, stride, padding)
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]
