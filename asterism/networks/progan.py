"""The networks of ProGAN (arXiv:1710.10196), which grow by a block for each doubling of the side.

Layers, their order and where the rate is equalised are those of the PyTorch descendant, the GAN zoo: weights are drawn with
deviation 1, and weights and biases of every layer are multiplied by He's constant where they are used (Section 4.1).

Shapes: N batch, C picture channels, Z latent and code together, level k of the side S = 4 * 2**k, d_k its width. `old` is the
share of the level before in a fade, a tensor without dimensions: 1 as the fade begins, 0 at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.cpu.convolution import convolve, transpose
from asterism.networks.layers import Conv2d, DoublingConv2d
from asterism.networks.sizes import check_square

SLOPE = 0.2
EPSILON = 1e-8
GROUP = 4
"""Samples among which the deviation is taken."""


class Generator(nn.Module):
    """Make pictures of latents.

    Args:
        channels: C.
        inputs: Z.
        widths: d_k of every level, from 4 x 4 on.
    """

    def __init__(self, channels: int, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.format = _Linear(inputs, 16 * widths[0])
        self.first = _Conv(widths[0], widths[0], 3)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.blocks: Any = nn.ModuleList(nn.ModuleList([_DoublingConv(a, b), _Conv(b, b, 3)]) for a, b in pairs)
        self.to_rgb = nn.ModuleList(_Conv(width, channels, 1) for width in widths)
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.long))
        """Training steps before its last one: what tells a trained generator how far its fade had come."""

    def forward(self, z: Tensor, level: int, old: Tensor | None = None) -> Tensor:
        """Return pictures [N, C, S, S], unbounded, of a level's side from latents [N, Z]; latents are normalised here."""
        h = F.leaky_relu(self.format(pixel_norm(z)), SLOPE).unflatten(1, (-1, 4, 4))
        h = before = _normalized(self.first(pixel_norm(h)))  # [N, d_0, 4, 4]
        for doubling, convolution in self.blocks[:level]:
            before = h
            h = _normalized(convolution(_normalized(doubling(h))))
        x = at_least_float32(self.to_rgb[level](h))
        if old is None:
            return x
        return faded(x, at_least_float32(self.to_rgb[level - 1](before)), old)


class Discriminator(nn.Module):
    """Score pictures, and with labels classify them.

    Args:
        channels: C.
        labels: L; 0: scores alone.
        widths: as for the generator.
    """

    def __init__(self, channels: int, labels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.from_rgb = nn.ModuleList(_Conv(channels, width, 1) for width in widths)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.blocks: Any = nn.ModuleList(nn.ModuleList([_Conv(b, b, 3), _Conv(b, a, 3)]) for a, b in pairs)
        self.last = _Conv(widths[0] + 1, widths[0], 3)
        self.hidden = _Linear(16 * widths[0], widths[0])
        self.decision = _Linear(widths[0], 1 + labels)

    def forward(self, x: Tensor, level: int, old: Tensor | None = None, *, alone: bool = False) -> tuple[Tensor, Tensor]:
        """Return scores [N] and class logits [N, L] of pictures [N, C, S, S] of a level's side.

        Args:
            alone: every picture is seen as a batch of one, whose deviation is 0.
        """
        h = F.leaky_relu(self.from_rgb[level](x), SLOPE)
        for depth in range(level, 0, -1):
            for convolution in self.blocks[depth - 1]:
                h = F.leaky_relu(convolution(h), SLOPE)
            h = F.avg_pool2d(h, 2)
            if old is not None and depth == level:
                below = F.leaky_relu(self.from_rgb[level - 1](F.avg_pool2d(x, 2)), SLOPE)
                h = torch.lerp(h, below, old.to(h.dtype))
        apart = torch.zeros_like(h[:, :1]) if alone else deviation(h)
        h = F.leaky_relu(self.last(torch.cat([h, apart], 1)), SLOPE)
        said = self.decision(F.leaky_relu(self.hidden(h.flatten(1)), SLOPE))
        return said[:, 0], said[:, 1:]


def faded(x: Tensor, small: Tensor, old: Tensor) -> Tensor:
    """Blend pictures [N, C, S, S] with those of half the side, doubled, of which `old` is the share (Figure 2)."""
    return torch.lerp(x, F.interpolate(small, scale_factor=2.0, mode="nearest"), old.to(x.dtype))


def pixel_norm(h: Tensor) -> Tensor:
    """Divide each pixel's vector [N, C, ...] by the root of its mean square (Section 4.2)."""
    exact = at_least_float32(h)
    return (exact * (exact.square().mean(1, keepdim=True) + EPSILON).rsqrt()).to(h.dtype)


def deviation(h: Tensor) -> Tensor:
    """Return how much samples differ, the mean over features and pixels of their deviation, as a map [N, 1, H, W] (Section 3).

    It is taken among four samples that follow one another, or among all where four do not divide N; of one sample it is 0.
    """
    count = GROUP if len(h) % GROUP == 0 else len(h)
    if count == 1:
        return torch.zeros_like(h[:, :1])
    variance = at_least_float32(h).unflatten(0, (-1, count)).var(1)
    each = (variance + EPSILON).sqrt().flatten(1).mean(1).repeat_interleave(count)
    return each[:, None, None, None].expand(-1, 1, *h.shape[2:]).to(h.dtype)


def _normalized(h: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(h, SLOPE))


class _Scaled(torch.autograd.Function):
    """A weight times a constant; it saves nothing, since its result is kept and differentiated several times."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return weight * scale

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _Scaled.apply(g, ctx.scale), None


class _Conv(Conv2d):
    """A convolution with equalised rate that keeps the side."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, 1, kernel // 2)
        self.scale = equalize(self)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return convolve(x, self.kept(x, self.scaled), self.bias * self.scale, 1, self.padding[0])

    def scaled(self, weight: Tensor) -> Tensor:
        return _Scaled.apply(weight, self.scale)


class _DoublingConv(DoublingConv2d):
    """A 3x3 convolution with equalised rate of a map whose side is doubled first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.scale = equalize(self)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        y = transpose(x, self.kept(x, self.fold), (2 * x.shape[2], 2 * x.shape[3]), 2, 1)
        return y + (self.bias * self.scale).to(y.dtype)[:, None, None]

    def fold(self, weight: Tensor) -> Tensor:
        return super().fold(_Scaled.apply(weight, self.scale))


class _Linear(nn.Linear):
    """A linear layer with equalised rate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.scale = equalize(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.scale)


def equalize(layer: nn.Conv2d | nn.Linear) -> float:
    """Draw a layer's weights from N(0, 1), its biases 0; return He's constant, by which they are multiplied in use."""
    nn.init.normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return sqrt(2 / layer.weight[0].numel())


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures that are not squares of a power of two from 4 to 1024 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    check_square(size, 4, 1024, "ProGAN makes")


def levels_of(size: int) -> int:
    """Return how many levels lead to the side `size`."""
    return size.bit_length() - 2
