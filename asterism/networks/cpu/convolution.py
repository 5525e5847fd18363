"""Convolutions as matrix products where these are faster on CPUs; in float32 see `networks/cpu/winograd.py` as well.

oneDNN, which computes PyTorch's convolutions on CPUs, works along the rows of a map. It reaches the machine's matrix rate on
large maps and a tenth of it on maps of 2 x 2 to 8 x 8 pixels, above all for gradients of weights (docs/performance.md). There
the patches of the input are gathered into a matrix, in the order (row, column, channel), in which kernels of the
channels-last layout already lie.

Three operations are closed under differentiation: the convolution of x with w, its transpose applied to g, and the gradient
of w from x and g. Each is chosen by shape on its own, everything is differentiable any number of times, and results equal
the library's up to rounding.

Shapes: x [N, C, H, W], w [O, C, k, l], y and g [N, O, h, w].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from asterism.networks.cpu import handwritten, winograd

FEW_OUTPUTS = 4
"""Up to as many output channels a wide kernel is split into rows; oneDNN's vectors hold 16."""

NARROW = torch.backends.cpu.get_cpu_capability() == "AVX2"
"""Without AVX-512, oneDNN makes float32 gradients of channels-last weights at a sixth to four fifths of a product's rate."""

AMX = getattr(torch.cpu, "get_capabilities", dict[str, bool])().get("amx_bf16", False)  # Matrix units.

BLOCK = 2**20  # Values of patches that are gathered at a time for such a gradient, so that they stay in the cache.


class Conv2d(nn.Conv2d):
    """PyTorch's layer, through `convolve`, and its transpose; zero padding, no groups."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, O, h, w]."""
        size = _output_size(x.shape[2:], self.weight, self.stride[0], self.padding[0])
        return convolve(x, self._kernel(x, size), self.bias, self.stride[0], self.padding[0])

    def transpose(self, g: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the gradient of the input, of height and width `size`, from that of the output, [N, O, h, w]."""
        return transpose(g, self._kernel(g, g.shape[2:]), size, self.stride[0], self.padding[0])

    def _kernel(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the weight; for products, in the precision of the products.

        Autocast casts a weight once for all its uses, but only for the library's operations. The largest weights are those
        of the smallest maps, and casting them, and their gradients back, takes as long as the products themselves.
        """
        return self.kept(x) if handwritten.applies(x) and _small(x, size, self.stride[0]) else self.weight

    def kept(self, x: Tensor, make: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return make(weight) in autocast's precision, made once for all uses between two changes of the weight.

        Only by hand: a compiler sees all uses, and what is kept may not outlive a captured graph.
        """
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        if not handwritten.applies(x):
            return self.weight if make is None else make(self.weight)
        graph = self.weight.requires_grad and not torch.is_inference_mode_enabled()
        made_for = (self.weight._version, self.weight.data_ptr(), dtype, graph, torch.is_inference_mode_enabled())
        weight, was_for, made = self._kept
        if weight is not self.weight or was_for != made_for:
            with torch.set_grad_enabled(graph):
                made = (self.weight if make is None else make(self.weight)).to(dtype)
            self._kept = (self.weight, made_for, made)
        return made

    padding: tuple[int, int]
    _kept: tuple[Any, Any, Any] = (None, None, None)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and files of the layer hold nothing kept, since that may belong to a graph."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """Return conv2d(x, weight, bias) with zero padding."""
    if not handwritten.applies(x):
        return F.conv2d(x, weight, bias, stride, padding)
    if len(weight) <= FEW_OUTPUTS and weight.shape[2] >= 5 and stride == 1:
        return _by_rows(x, weight, bias, padding)
    size = _output_size(x.shape[2:], weight, stride, padding)
    if not gradient_pays(x, weight, size, stride) and not winograd.pays(x, weight.shape, stride, padding):
        return F.conv2d(x, weight, bias, stride, padding)
    x, weight, bias = cast(x, weight, bias)
    return _Convolution.apply(x, weight, bias, stride, padding)


def transpose(g: Tensor, weight: Tensor, size: tuple[int, ...], stride: int = 1, padding: int = 0) -> Tensor:
    """Return the transpose of `convolve`, applied to g: the gradient of x, whose height and width are `size`."""
    if handwritten.applies(g) and (
        gradient_pays(g, weight, g.shape[2:], stride) or winograd.pays(g, weight.shape, stride, padding, True)
    ):
        g, weight, _ = cast(g, weight, None)
        return _Transpose.apply(g, weight, stride, padding, tuple(size))
    return _library_transpose(g, weight, stride, padding, size)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = stride, padding
        if winograd.pays(x, weight.shape, stride, padding):
            y = winograd.outputs(winograd.surrounded(x, padding), weight)
            return y if bias is None else y.add_(bias[:, None, None])
        size = _output_size(x.shape[2:], weight, stride, padding)
        if not _product_pays(size, weight, stride):
            return F.conv2d(x, weight, bias, stride, padding)
        rows = _patches(x, weight.shape[2:], stride, padding)
        return F.linear(rows, _matrix(weight), bias).view(len(x), *size, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        for_x = _Transpose.apply(g, weight, *ctx.shape, tuple(x.shape[2:])) if of_x else None
        for_weight = weight_gradient(x, g, weight.shape[2:], *ctx.shape) if of_weight else None
        return for_x, for_weight, g.sum((0, 2, 3)) if of_bias else None, None, None


class _Transpose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, stride: int, padding: int, size: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.shape = stride, padding
        if winograd.pays(g, weight.shape, stride, padding, transposed=True):
            return winograd.transpose(g, weight, padding)
        if not _product_pays(g.shape[2:], weight, stride):
            return _library_transpose(g, weight, stride, padding, size)
        return _fold(_rows(g) @ _matrix(weight), g, weight, stride, padding, size)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        of_g, of_weight, *_ = ctx.needs_input_grad
        for_g = _Convolution.apply(u, weight, None, *ctx.shape) if of_g else None
        for_weight = weight_gradient(u, g, weight.shape[2:], *ctx.shape) if of_weight else None
        return for_g, for_weight, None, None, None


# -- choices by shape, as measured -------------------------------------------------------------------------------------


def gradient_pays(x: Tensor, weight: Tensor, size: tuple[int, ...], stride: int) -> bool:
    """Whether the gradient of the weights, at outputs of this size, is faster as a product; the others imply it."""
    return _small(x, size, stride) or (NARROW and x.dtype == torch.float32 and weight.shape[1] > FEW_OUTPUTS)


def _small(x: Tensor, size: tuple[int, ...], stride: int) -> bool:
    """Whether maps are so small that this holds on any processor and in any precision; with matrix units, or so few."""
    pixels = size[0] * size[1]
    return pixels <= (16 if stride == 1 else 64) or (AMX and x.dtype == torch.bfloat16 and len(x) * pixels <= 512)


def _product_pays(size: tuple[int, ...], weight: Tensor, stride: int) -> bool:
    """Whether the convolution and its transpose are faster as products."""
    pixels = size[0] * size[1]
    return pixels == 1 or (stride > 1 and (pixels <= 4 or (pixels <= 16 and weight.shape[1] >= 512)))


# -- the products ------------------------------------------------------------------------------------------------------


def _patches(x: Tensor, kernel: tuple[int, ...], stride: int, padding: int, width: int | None = None) -> Tensor:
    """Gather what every output sees, or the first `width` outputs of every row: [N * h * w, k * l * C]."""
    x = F.pad(x, (padding,) * 4) if padding else x
    windows = x.unfold(2, kernel[0], stride).unfold(3, kernel[1], stride)[:, :, :, :width]  # [N, C, h, w, k, l]
    return windows.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(0, 2)


def _rows(g: Tensor) -> Tensor:
    """[N, O, h, w] -> [N * h * w, O]; a view of a channels-last map."""
    return g.permute(0, 2, 3, 1).flatten(0, 2)


def _matrix(weight: Tensor) -> Tensor:
    """[O, C, k, l] -> [O, k * l * C]; a view of a channels-last kernel."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _fold(columns: Tensor, g: Tensor, weight: Tensor, stride: int, padding: int, size: tuple[int, ...]) -> Tensor:
    """Add the patches [N * h * w, k * l * C] up where they overlap, [N, C, H, W]; the transpose of `_patches`."""
    count, _, height, width = g.shape
    channels, *kernel = weight.shape[1:]
    patches = columns.view(count, height, width, *kernel, channels)
    # Sums of rounded summands are taken in float32, as the library does inside.
    dtype = torch.promote_types(columns.dtype, torch.float32)
    whole = [max(full + 2 * padding, (few - 1) * stride + k) for full, few, k in zip(size, g.shape[2:], kernel, strict=True)]
    out = columns.new_zeros(count, *whole, channels, dtype=dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            out[:, i : i + stride * height : stride, j : j + stride * width : stride] += patches[:, :, :, i, j]
    inside = out[:, padding : padding + size[0], padding : padding + size[1]]
    return inside.to(columns.dtype).contiguous().permute(0, 3, 1, 2)


def weight_gradient(x: Tensor, g: Tensor, kernel: tuple[int, ...], stride: int, padding: int) -> Tensor:
    """Return the gradient of the weights, [O, C, k, l]."""
    if winograd.pays(x, (g.shape[1], x.shape[1], *kernel), stride, padding):
        return winograd.weight_gradient(winograd.surrounded(x, padding), g)
    if _small(g, g.shape[2:], stride):
        product = _rows(g).t().contiguous() @ _patches(x, kernel, stride, padding)
    elif not NARROW or x.dtype != torch.float32:  # Asked for inside the derivative of a small one.
        return conv2d_weight(x, (g.shape[1], x.shape[1], *kernel), g, stride, padding)
    else:
        wide = F.pad(x, (padding,) * 4)
        product = x.new_zeros(g.shape[1], x.shape[1] * kernel[0] * kernel[1])
        lines = max(1, BLOCK // (product.shape[1] * g.shape[3]))
        for one, of_one in zip(wide.split(1), g.split(1), strict=True):
            for i, part in enumerate(of_one.split(lines, 2)):
                seen = one[:, :, i * lines * stride : (i * lines + part.shape[2] - 1) * stride + kernel[0]]
                product.addmm_(_rows(part).t(), _patches(seen, kernel, stride, 0, part.shape[3]))
    return product.view(g.shape[1], *kernel, x.shape[1]).permute(0, 3, 1, 2)


def _library_transpose(g: Tensor, weight: Tensor, stride: int, padding: int, size: tuple[int, ...]) -> Tensor:
    sides = zip(size, g.shape[2:], weight.shape[2:], strict=True)
    odd = tuple(full + 2 * padding - k - (few - 1) * stride for full, few, k in sides)  # Dropped by floor division.
    return F.conv_transpose2d(g, weight, None, stride, padding, odd)


def _by_rows(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Convolve to few channels: the kernel's rows as channels of a 1 x l convolution, which a second one adds up by shifts."""
    outputs, channels, kernel, width = weight.shape
    rows = weight.permute(2, 0, 1, 3).reshape(kernel * outputs, channels, 1, width)
    shifts = torch.eye(kernel * outputs, dtype=weight.dtype).view(kernel, outputs, kernel, outputs).permute(3, 0, 1, 2)
    return F.conv2d(F.conv2d(x, rows, padding=(0, padding)), shifts.reshape(outputs, -1, kernel, 1), bias, padding=(padding, 0))


def _output_size(size: tuple[int, ...], weight: Tensor, stride: int, padding: int) -> tuple[int, ...]:
    return tuple((side + 2 * padding - k) // stride + 1 for side, k in zip(size, weight.shape[2:], strict=True))


def cast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Do what autocast does for a convolution, which it cannot know these to be."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = torch.get_autocast_dtype("cpu")
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
