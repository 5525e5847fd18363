"""Convolutions whose padding reflects the picture, as one layer.

As two layers, the padded copy of every map is kept for the backward pass, and in float32 the convolution, which pads nothing,
is one that `networks/cpu/winograd.py` does not know. Here the map itself is kept, which a norm in front of it may compute
again, and is padded again in the backward pass.

Shapes: x [N, C, H, W], w [O, C, k, k], y and g [N, O, H, W]; r = k // 2 pixels are reflected at every side.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.networks.cpu import handwritten, winograd
from asterism.networks.cpu.convolution import FEW_OUTPUTS, cast
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
        wide = _reflected(x, reach)
        if not winograd.pays(x, weight, 1, reach):
            return F.conv2d(wide, weight, bias)
        y = winograd.outputs(wide, weight)
        return y if bias is None else y.add_(bias[:, None, None])

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
        if winograd.pays(x, weight, 1, reach):
            of_wide = _full(g, weight) if wanted[0] else None
            of_w = winograd.weight_gradient(wide, g) if wanted[1] else None
            of_bias = g.sum((0, 2, 3)) if wanted[2] else None
        else:
            of_wide, of_w, of_bias = torch.ops.aten.convolution_backward(
                g, wide, weight, [len(weight)], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted
            )
        return None if of_wide is None else _folded(of_wide, reach), of_w, of_bias, None


def _full(g: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient [N, C, H + 2, W + 2] of a 3x3 convolution's padded input; whole tiles are made, and cut."""
    height, width = (side + 2 for side in g.shape[2:])
    wide = F.pad(g, (2, 2 - width % -winograd.TILE, 2, 2 - height % -winograd.TILE))
    return winograd.outputs(wide, winograd.turned(weight))[:, :, :height, :width]


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
