"""Convolutions whose padding reflects the picture, as one layer.

As two layers, the padded copy of every map is kept for the backward pass. Here the map itself is kept, which a norm in front of
it may compute again, and is padded again in the backward pass.

Shapes: x [N, C, H, W], w [O, C, k, k], y and g [N, O, H, W]; r = k // 2 pixels are reflected at every side.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.networks.cpu import handwritten
from asterism.networks.cpu.convolution import FEW_OUTPUTS, cast, convolve, transpose, weight_gradient
from asterism.networks.layers import Conv2d


class ReflectedConv2d(Conv2d):
    """ReflectionPad2d(k // 2) and a k x k convolution of stride 1; k is odd."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)
        self.reach = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, O, H, W]."""
        if not handwritten.applies(x) or len(self.weight) <= FEW_OUTPUTS:
            return super().forward(_reflected(x, self.reach))
        return _Reflected.apply(*cast(x, self.kept(x), self.bias), self.reach)


class _Reflected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, reach: int) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.reach = reach
        return convolve(_reflected(x, reach), weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        wanted, reach = list(ctx.needs_input_grad[:3]), ctx.reach
        if torch.is_grad_enabled():  # To be differentiated again: PyTorch's own operations.
            y = F.conv2d(_reflected(x, reach), weight, bias)
            asked = [t for t, want in zip((x, weight, bias), wanted, strict=True) if want]
            found = iter(torch.autograd.grad(y, asked, g, create_graph=True))
            return *(next(found) if want else None for want in wanted), None
        wide = _reflected(x, reach)
        of_x = _folded(transpose(g, weight, wide.shape[2:]), reach) if wanted[0] else None
        of_w = weight_gradient(wide, g, weight.shape[2:], 1, 0) if wanted[1] else None
        return of_x, of_w, g.sum((0, 2, 3)) if wanted[2] else None, None


def _reflected(x: Tensor, reach: int) -> Tensor:
    return F.pad(x, (reach,) * 4, mode="reflect")


def _folded(g: Tensor, reach: int) -> Tensor:
    """Add what reflected pixels got, g [N, C, H + 2 r, W + 2 r], which is used up, to the pixels that they show."""
    for axis in (2, 3):
        last = g.shape[axis] - 1
        for i in range(reach):
            for mirrored, shown in ((i, 2 * reach - i), (last - i, last - 2 * reach + i)):
                g.select(axis, shown).add_(g.select(axis, mirrored))
    return g[:, :, reach:-reach, reach:-reach]
