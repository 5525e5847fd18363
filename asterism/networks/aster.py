"""The networks of Aster: a half-resolution U-Net that edits its input, and a judge of every label.

Shapes: N batch, C picture channels, H, W height and width, L labels, w width; c [N, n] code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.machine import at_least_float32
from asterism.networks.layers import Conv2d, DoublingConv2d, InstanceNorm2d
from asterism.networks.sizes import SizeError
from asterism.networks.stargan_v2 import SLOPE, AdaIN, slopes

SMALLEST = 32
"""Pixels of the shorter side: the judge of patches needs a map of 8."""

TOP = 4
"""Pixels of the shorter side of the judge's last map."""

FAINT = 0.1
"""Scale of the first weights of the way out for half the side: training starts from pictures that are nearly left alone."""


class Generator(nn.Module):
    """Edit a picture as a signed code says.

    Nothing works at full resolution: pictures enter and leave as blocks of 2 x 2 pixels. The picture of half the side enters
    and leaves one level deeper, as such blocks too, and the two changes are added (as arXiv:1912.04958 adds pictures). The
    level between counts for nothing at first, so that a generator that has learned on pictures of half the side goes on from
    there, with everything at the same place in its maps.

    Args:
        channels: C.
        code: n.
        width: w, channels at half resolution.
        halvings: of the half resolution; the core works at H / 2**(halvings + 1).
        dead_zone: changes below it become none; on [-1, 1], so that 0.03 is 4 steps of 8 bits.
    """

    def __init__(self, channels: int, code: int, width: int, halvings: int, dead_zone: float, told: int = 64) -> None:
        super().__init__()
        widths = [width * min(1 << depth, 4) for depth in range(halvings + 1)]
        self.dead_zone = dead_zone
        self.code = nn.Sequential(nn.Linear(code, told), nn.LeakyReLU(SLOPE), nn.Linear(told, told), nn.LeakyReLU(SLOPE))
        self.first, self.first_half = (_encoder(4 * channels, outputs, 3) for outputs in widths[:2])
        self.down = nn.ModuleList(_encoder(below, above, 4) for below, above in zip(widths, widths[1:], strict=False))
        self.detail = nn.Parameter(torch.zeros(widths[1], 1, 1))  # How much of the whole picture is added to its half.
        self.refine = nn.ModuleList(_encoder(own, own, 3) for own in widths[1:-1])  # Of the maps that are carried over.
        self.core = nn.ModuleList(_Block(widths[-1], told) for _ in range(2))
        self.up = nn.ModuleList(
            _Decoder(above, below, told) for above, below in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last, self.last_half = (Conv2d(inputs, 4 * (channels + 1), 3, 1, 1) for inputs in widths[:2])
        for layer in (self.last, self.last_half):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.weight)
        with torch.no_grad():  # The four pixels of a block begin alike (arXiv:1707.02937).
            self.last_half.weight.copy_(FAINT * self.last_half.weight[::4].repeat_interleave(4, 0))

    def forward(self, x: Tensor, c: Tensor, half: bool = False) -> Tensor:
        """Return pictures [N, C, H, W], raw, from pictures [N, C, H, W] in [-1, 1] and codes [N, n].

        Args:
            half: x are pictures of half the side, which the level for whole ones has no part in.
        """
        b, m = self.change(x, c, half)
        x = at_least_float32(x)
        return x + F.softshrink(b - m * x, self.dead_zone)

    def change(self, x: Tensor, c: Tensor, half: bool = False) -> tuple[Tensor, Tensor]:
        """Return the new colours b [N, C, H, W], multiplied by their opacity, and the opacity m [N, 1, H, W]; both raw."""
        s = self.code(c)  # [N, told]
        h = self.first_half(_blocks(x if half else F.avg_pool2d(x, 2)))  # [N, 2 w, H / 4, W / 4] of whole pictures
        carried = []
        if not half:
            carried.append(self.first(_blocks(x)))  # [N, w, H / 2, W / 2]
            h = h + self.detail.to(h.dtype) * self.down[0](carried[0])
        for refine, down in zip(self.refine, self.down[1:], strict=True):
            h = h + refine(h)
            carried.append(h)
            h = down(h)  # [N, w 2**depth, H / 2**(depth + 1), ...], at most 4 w
        for block in self.core:
            h = block(h, s)
        for up in self.up[:-1]:
            h = up(h, carried.pop(), s)
        made = at_least_float32(F.pixel_shuffle(self.last_half(h), 2))  # [N, C + 1, H / 2, W / 2]
        if not half:
            h = self.up[-1](h, carried.pop(), s)
            whole = at_least_float32(F.pixel_shuffle(self.last(h), 2))  # [N, C + 1, H, W]
            made = whole + F.interpolate(made, scale_factor=2, mode="bilinear")
        return made[:, :-1], made[:, -1:]


class _Block(nn.Module):
    """Residual block told by the code; no activation after the sum."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = AdaIN(told, channels), AdaIN(told, channels, slope=None)

    def forward(self, h: Tensor, s: Tensor) -> Tensor:
        """Map [N, channels, h, w] to the same shape."""
        return h + self.norm2(self.conv2(self.norm1(self.conv1(h), s)), s)


class _Decoder(nn.Module):
    """Double the map, join the encoder's, and convolve twice, told by the code."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.doubling = DoublingConv2d(inputs, outputs)
        self.conv1 = Conv2d(2 * outputs, outputs, 3, 1, 1, bias=False)
        self.conv2 = Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = AdaIN(told, outputs), AdaIN(told, outputs)

    def forward(self, h: Tensor, carried: Tensor, s: Tensor) -> Tensor:
        """Map [N, inputs, h, w] and the encoder's map [N, outputs, 2 h, 2 w] to [N, outputs, 2 h, 2 w]."""
        h = torch.cat([self.doubling(h), carried], 1)
        return self.norm2(self.conv2(self.norm1(self.conv1(h), s)), s)


class Verdict(NamedTuple):
    """What the discriminator says of pictures; raw logits."""

    patch: Tensor
    """[N, P]: each small patch is real."""
    local: Tensor
    """[N, 2, L, Q]: each large patch is real and its picture lacks (0) or has (1) the label."""
    judge: Tensor
    """[N, 2, L]: the picture is real and lacks (0) or has (1) the label."""
    classes: Tensor
    """[N, L]: the label holds."""


class Discriminator(nn.Module):
    """Judge small patches, and every label in large patches and in the whole picture; classify.

    Convolutions and leaky ReLUs only, so that the input gradient of what it says can be written out (`score_gradient`).

    Args:
        channels: C.
        labels: L.
        size: H, W.
        width: channels of the first convolution; doubled at every halving up to eight times.
    """

    def __init__(self, channels: int, labels: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.labels = labels
        layers: list[Conv2d] = []
        side, inputs, outputs = size, channels, width
        while min(side) >= 2 * TOP:
            layers.append(Conv2d(inputs, outputs, 4, 2, 1))
            side = (side[0] // 2, side[1] // 2)
            if len(layers) > 1 and min(side) >= 2 * TOP:
                layers.append(Conv2d(outputs, outputs, 3, 1, 1))
                self.local_after = len(layers)  # The last map whose shorter side is 8 or more.
            inputs, outputs = outputs, min(2 * outputs, 8 * width)
        self.trunk = nn.ModuleList(layers)
        self.patch = Conv2d(layers[PATCH_AFTER - 1].out_channels, 1, 3, 1, 1)
        self.local = Conv2d(layers[self.local_after - 1].out_channels, 2 * labels, 3, 1, 1)
        self.judge = Conv2d(inputs, 2 * labels, side, bias=False)
        self.classes = Conv2d(inputs, labels, side, bias=False)

    def forward(self, x: Tensor) -> Verdict:
        """Judge pictures [N, C, H, W] in [-1, 1]."""
        h = x
        for depth, layer in enumerate(self.trunk, start=1):
            h = F.leaky_relu(layer(h), SLOPE)
            if depth == PATCH_AFTER:
                patch = self.patch(h).flatten(1)  # [N, H / 4 * W / 4]
            if depth == self.local_after:
                local = self.local(h).flatten(2)  # [N, 2 L, Q]
        shape = (2, self.labels)
        judge, classes = self.judge(h).flatten(1), self.classes(h).flatten(1)
        return Verdict(patch, local.unflatten(1, shape), judge.unflatten(1, shape), classes)

    def score_gradient(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the gradient with respect to x, [N, C, H, W], of a weighted sum of what it says of x.

        The sum is of the mean of `patch`, of weights times `judge`, and of weights times the mean over patches of `local`.
        An ordinary differentiable function of the network's weights, as autograd's with create_graph.

        Args:
            weights: [N, 2, L].
        """
        gains, sizes, h = [], [], x
        with torch.no_grad():
            for layer in self.trunk:
                sizes.append(h.shape[2:])
                h = F.leaky_relu(layer(h), SLOPE)
                gains.append(slopes(h))
        w = weights.flatten(1)[:, :, None, None].to(h.dtype)  # [N, 2 L, 1, 1]
        g = self.judge.transpose(w, h.shape[2:])
        for depth in range(len(gains), 0, -1):
            gain = gains[depth - 1]
            if depth == self.local_after:
                share = (w / gain[0, 0].numel()).expand(-1, -1, *gain.shape[2:])
                g = g + self.local.transpose(share, gain.shape[2:])
            if depth == PATCH_AFTER:
                share = torch.full_like(gain[:, :1], 1 / gain[0, 0].numel())
                g = g + self.patch.transpose(share, gain.shape[2:])
            g = self.trunk[depth - 1].transpose(g * gain, sizes[depth - 1])  # type: ignore[operator]
        return g


PATCH_AFTER = 3
"""Convolutions before small patches are judged: a quarter of the picture's side."""


def _blocks(x: Tensor) -> Tensor:
    """Return pictures [N, C, H, W] as [N, 4 C, H / 2, W / 2], in the layout that convolutions are fastest in."""
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return F.pixel_unshuffle(x, 2).contiguous(memory_format=layout)


def _encoder(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, halving where its kernel is 4, and instance norm with its activation."""
    convolution = Conv2d(inputs, outputs, kernel, kernel - 2 if kernel == 4 else 1, 1, bias=False)
    return nn.Sequential(convolution, InstanceNorm2d(outputs, slope=SLOPE))


def halvings_for(size: tuple[int, int]) -> int:
    """Return how often the generator halves the half resolution: its core works at about 8 pixels."""
    return max(2, (min(size) // 16).bit_length() - 1)


def check_size(size: tuple[int, int], halvings: int) -> None:
    """Refuse pictures that the networks cannot take.

    Raises:
        SizeError: with the nearest valid size.
    """
    step = 2 << halvings
    valid = tuple(max(SMALLEST, round(side / step) * step) for side in size)
    if valid != tuple(size):
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: sides must be multiples of {step} and at least {SMALLEST}; "
            f"the nearest is {valid[0]}x{valid[1]}"
        )
