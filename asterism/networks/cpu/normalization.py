"""Instance norm with its activation, in one forward and one backward.

PyTorch's instance norm leaves the channels-last layout on CPUs, so that maps are copied before and after it, and the layers
around it are slowed by mixed layouts. Its batch norm keeps it: one picture at a time, batch norm is instance norm, and with a
picture's own scale and shift it is AdaIN. Its parts are put together here with the activation, whose backward needs the
output alone.

Shapes: x [N, C, H, W]; weight, bias [C], or [N, C] where every picture has its own, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from asterism.networks.cpu import handwritten

EPSILON = 1e-5
"""Added to the variance, as PyTorch's layer does."""


class InstanceNorm2d(nn.InstanceNorm2d):
    """PyTorch's layer without running statistics, and the activation that follows.

    Args:
        channels: C.
        slope: of the activation for negative values: 0 is ReLU; none has no activation.
        affine: with scale and shift.
    """

    def __init__(self, channels: int, slope: float | None = None, affine: bool = True) -> None:
        super().__init__(channels, affine=affine)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return instance_norm(x, self.weight, self.bias, self.slope)


def instance_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float | None = None) -> Tensor:
    """Return act(weight (x - mean) / sqrt(var + eps) + bias), mean and variance over each picture's channel.

    Instance norm (arXiv:1607.08022, Eq. 1), AdaIN (arXiv:1703.06868, Eq. 8) with weight and bias of each picture's own.

    Args:
        weight, bias: both, or none for 1 and 0.
        slope: of the leaky ReLU; 0 is ReLU, none is no activation.
    """
    if handwritten.applies(x) and x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last):
        given = (x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])) if weight is None else (weight, bias)
        return _Norm.apply(x, *given, slope)
    return _plain(x, weight, bias, slope)


def _plain(x: Tensor, weight: Tensor | None, bias: Tensor | None, slope: float | None) -> Tensor:
    if weight is None or bias is None or weight.ndim == 1:
        y = F.instance_norm(x, weight=weight, bias=bias, eps=EPSILON)
    else:
        y = weight[:, :, None, None] * F.instance_norm(x, eps=EPSILON) + bias[:, :, None, None]
    y = y.flatten().view(x.shape) if handwritten.applies(x) and len(x) == 1 else y  # Or PyTorch misreads g in another layout.
    return y if slope is None else F.relu(y) if slope == 0 else F.leaky_relu(y, slope)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, slope: float | None) -> Tensor:
        y, mean, scale = _normalize(x, weight, bias, slope)
        ctx.slope, ctx.again = slope, None
        ctx.save_for_backward(x, weight, bias, mean, scale)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # A penalty differentiates this gradient in turn (create_graph): PyTorch's own operations.
            inputs = tuple(ctx.saved_tensors[:3])
            plain = _plain(inputs[0], inputs[1], inputs[2], ctx.slope)
            return *torch.autograd.grad(plain, inputs, g, create_graph=True), None
        saved, y = _again(ctx) if ctx.slope is not None or ctx.again else (ctx.saved_tensors, None)
        x, weight, _, mean, scale = saved
        g = g.contiguous(memory_format=torch.channels_last)
        ctx.again = None
        own = weight.to(mean.dtype).expand(x.shape[:2])
        of_x = torch.empty_like(x)
        of_weight, of_bias = torch.empty_like(mean), torch.empty_like(mean)
        wanted = [ctx.needs_input_grad[0], True, True]
        for i in range(len(x)):
            of_y = g[i : i + 1]
            if y is not None and ctx.slope is not None:
                of_y = torch.ops.aten.leaky_relu_backward(of_y, y[i : i + 1], ctx.slope, True)
            of_x_i, of_weight[i], of_bias[i] = torch.ops.aten.native_batch_norm_backward(
                of_y, x[i : i + 1], own[i], None, None, mean[i], scale[i], True, EPSILON, wanted
            )
            if wanted[0]:
                of_x[i : i + 1] = of_x_i
        sums = [(grad.sum(0) if weight.ndim == 1 else grad).to(weight.dtype) for grad in (of_weight, of_bias)]
        return of_x if wanted[0] else None, *sums, None


def _normalize(x: Tensor, weight: Tensor, bias: Tensor, slope: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output, and each picture's means and inverse standard deviations [N, C]."""
    wide = torch.promote_types(x.dtype, torch.float32)  # Of the statistics, and of scale and shift.
    weight, bias = weight.to(wide).expand(x.shape[:2]), bias.to(wide).expand(x.shape[:2])
    y, mean, scale = torch.empty_like(x), x.new_empty(x.shape[:2], dtype=wide), x.new_empty(x.shape[:2], dtype=wide)
    for i in range(len(x)):
        out = (y[i : i + 1], mean[i], scale[i])
        torch.native_batch_norm(x[i : i + 1], weight[i], bias[i], None, None, True, 0.0, EPSILON, out=out)
        if slope is not None:
            F.leaky_relu_(out[0], slope)  # Here and in the backward picture by picture too: it is still in the cache.
    return y, mean, scale


def outputs_made_again(note: Callable[[Tensor], object] | None = None) -> saved_tensors_hooks:
    """Within it, what follows a norm does not keep the norm's output for its backward: it is computed again from the input.

    The norm keeps its input in any case, so of the two maps between convolutions one is kept, at the price of a norm
    (arXiv:1707.06990 does so for batch norm). The same operation gives the same output to the bit.

    Args:
        note: is told of every tensor that is kept.
    """

    def keep(tensor: Tensor) -> Any:
        node = tensor.grad_fn
        if isinstance(node, _Norm._backward_cls):
            return node
        if note is not None:
            note(tensor)
        return tensor

    return saved_tensors_hooks(keep, lambda kept: kept if isinstance(kept, Tensor) else _again(kept)[1])


def _again(node: Any) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return what a norm kept and its output, computed once for all that follow it: their backward passes precede its own."""
    if node.again is None:
        x, weight, bias, *_ = saved = node.saved_tensors
        with torch.no_grad():
            node.again = saved, _normalize(x, weight, bias, node.slope)[0]
    return node.again
