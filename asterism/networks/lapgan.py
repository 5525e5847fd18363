"""The pyramid of LAPGAN (arXiv:1506.05751) and its networks: the paper's flat ones, and strided ones of a PyTorch descendant.

Level 0 is the finest. A level of side s has pictures x of that side; the coarsest has no more than 8 pixels. Of every other
level the coarse picture is x halved and doubled again, and the residual what that has lost.

Shapes: N batch, C picture channels, s side of the level, Z length of the level's noise, uniform in [-1, 1]; n
numbers of the code that conditional networks are told.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.networks.layers import BatchNorm2d, Conv2d
from asterism.networks.noise import hashed
from asterism.networks.sizes import SizeError

COARSEST = 8
"""Largest side of the coarsest level."""

SIDES = sorted(small << depth for small in (7, 8) for depth in range(1, 6))
"""Sides of pictures that the networks take: those whose coarsest level has 7 or 8 pixels."""

SLOPE = 0.2
"""Negative slope of the strided networks' leaky ReLUs."""

DROPPED = 0.5
"""Share of activations that a dropout clears."""


def sides(size: int) -> list[int]:
    """Return the sides of the levels of pictures of a side, finest first."""
    found = [size]
    while found[-1] > COARSEST:
        found.append(found[-1] // 2)
    return found


def halved(x: Tensor) -> Tensor:
    """Return maps [N, C, s / 2, s / 2]: blurred by a binomial window of 5 x 5, reflected at the border, every second pixel.

    Burt and Adelson 1983; OpenCV's pyrDown.
    """
    for dim in (2, 3):
        p = F.pad(x, (0, 0, 2, 2) if dim == 2 else (2, 2, 0, 0), mode="reflect")
        taps = (p.narrow(dim, first, x.shape[dim]) for first in range(5))
        even = [tap[:, :, ::2] if dim == 2 else tap[..., ::2] for tap in taps]
        x = (even[0] + 4 * even[1] + 6 * even[2] + 4 * even[3] + even[4]) / 16
    return x


def doubled(x: Tensor) -> Tensor:
    """Return maps [N, C, 2 s, 2 s]: zeros between the pixels, then the same window, four times as strong; OpenCV's pyrUp."""
    for dim in (2, 3):
        count = x.shape[dim]
        p = torch.cat([x.narrow(dim, 1, 1), x, x.narrow(dim, count - 1, 1)], dim)
        before, here, after = (p.narrow(dim, first, count) for first in range(3))
        x = torch.stack([(before + 6 * here + after) / 8, (here + after) / 2], dim + 1).flatten(dim, dim + 1)
    return x


def level_of(x: Tensor, level: int, levels: int) -> tuple[Tensor, Tensor | None]:
    """Return what a level's generator learns to make of pictures x [N, C, S, S], and what it is given.

    The residual and the coarse picture, [N, C, s, s] both; of the coarsest level the picture, and nothing.
    """
    for _ in range(level):
        x = halved(x)
    if level == levels - 1:
        return x, None
    coarse = doubled(halved(x))
    return x - coarse, coarse


class Plane(nn.Module):
    """One more plane beside the pictures that a network reads: a full layer of the code (Section 4.1).

    Args:
        told: n, numbers of the code.
        side: s.
    """

    def __init__(self, told: int, side: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Linear(told, side * side), nn.Unflatten(1, (1, side, side)))

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return maps [N, C + 1, s, s] of maps [N, C, s, s] and codes c [N, n]."""
        return torch.cat([x, self.main(c).to(x.dtype)], 1)


class FlatGenerator(nn.Module):
    """Make a residual of noise, as one more plane, and the coarse picture: three convolutions that keep the size.

    Args:
        channels: C.
        side: s.
        width: channels between; the paper's is 64.
        told: n, numbers of the code that it is told; 0: none.
    """

    def __init__(self, channels: int, side: int, width: int = 64, told: int = 0) -> None:
        super().__init__()
        self.side, self.noise = side, side * side
        self.plane = Plane(told, side) if told else None
        first, middle = Conv2d(channels + 1 + bool(told), width, 7, 1, 3), Conv2d(width, width, 7, 1, 3)
        self.main = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), Conv2d(width, channels, 5, 1, 2))

    def forward(self, u: Tensor, coarse: Tensor, c: Tensor | None = None) -> Tensor:
        """Return residuals [N, C, s, s] of noise u [N, s s], coarse pictures [N, C, s, s] and codes c [N, n], where told."""
        x = torch.cat([u.view(-1, 1, self.side, self.side).to(coarse.dtype), coarse], 1)
        return self.main(x if self.plane is None else self.plane(x, c))


class FlatDiscriminator(nn.Module):
    """Tell residuals by what they make of the coarse picture, to which they are added.

    Args:
        channels: C.
        side: s.
        width: channels of both convolutions; the paper's is 64.
        told: as for `FlatGenerator`.
    """

    def __init__(self, channels: int, side: int, width: int = 64, told: int = 0) -> None:
        super().__init__()
        self.plane = Plane(told, side) if told else None
        first = Conv2d(channels + bool(told), width, 5)
        self.main = nn.Sequential(first, nn.ReLU(), Conv2d(width, width, 5, 2), nn.Flatten(), nn.ReLU())
        left = (side - 9) // 2 + 1
        self.last = nn.Linear(width * left * left, 1)

    def forward(self, x: Tensor, coarse: Tensor, seed: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Return raw logits [N] of residuals x with coarse pictures [N, C, s, s] and codes c [N, n], where told.

        Args:
            seed: int64 [N], of the dropout; none: no dropout.
        """
        x = x + coarse
        return self.last(_dropped(self.main(x if self.plane is None else self.plane(x, c)), seed, 0))[:, 0]


class FullGenerator(nn.Module):
    """Make the coarsest pictures of noise: full layers.

    Args:
        channels: C.
        side: s.
        noise: Z; the paper's is 100.
        width: of both hidden layers; the authors' is 8000.
        told: as for `FlatGenerator`; codes follow the noise.
    """

    def __init__(self, channels: int, side: int, noise: int = 100, width: int = 8000, told: int = 0) -> None:
        super().__init__()
        self.noise = noise
        hidden = nn.Linear(noise + told, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid()
        self.main = nn.Sequential(*hidden, nn.Linear(width, channels * side * side), nn.Unflatten(1, (channels, side, side)))
        _draw(self, 0.05)

    def forward(self, u: Tensor, coarse: None = None, c: Tensor | None = None) -> Tensor:
        """Return pictures [N, C, s, s] of noise u [N, Z] and codes c [N, n], where told."""
        return self.main(_beside(u, c))


class FullDiscriminator(nn.Module):
    """Tell the coarsest pictures: full layers.

    Args:
        channels: C.
        side: s.
        width: of both hidden layers; the authors' is 1600.
        told: as for `FlatGenerator`; codes follow the pixels.
    """

    def __init__(self, channels: int, side: int, width: int = 1600, told: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels * side * side + told, width), nn.Linear(width, width)
        self.last = nn.Linear(width, 1)
        _draw(self, 0.005)

    def forward(self, x: Tensor, coarse: None = None, seed: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Return raw logits [N] of pictures [N, C, s, s]; seed and codes as for `FlatDiscriminator`."""
        h = _dropped(self.first(_beside(x.flatten(1), c)).relu(), seed, 0)
        return self.last(_dropped(self.second(h).relu(), seed, 1))[:, 0]


class Trunk(nn.Module):
    """Halve pictures down to 4 x 4 and lay what is left in a row.

    Args:
        channels: C.
        side: s.
        width: channels of the last convolution; each before has half as many.
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide in _widths(side, width):
            layers += [Conv2d(channels, wide, 5, 2, 2), *([BatchNorm2d(wide)] if layers else []), nn.LeakyReLU(SLOPE)]
            channels = wide
        self.main = nn.Sequential(*layers, nn.Flatten())
        self.outputs = 16 * width

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 16 width] of pictures [N, C, s, s]."""
        return self.main(x)


class StridedGenerator(nn.Module):
    """Make a residual, or the coarsest picture, from a map of 4 x 4 that noise and a reading of the coarse picture make.

    Args:
        channels: C.
        side: s.
        noise: Z.
        width: channels of that map; each doubling halves them.
        given: numbers that are read from the coarse picture; 0: there is none.
        given_width: channels of the last convolution that reads it.
        told: as for `FlatGenerator`; codes follow the noise and the reading.
    """

    def __init__(self, channels: int, side: int, noise: int, width: int, given: int, given_width: int, told: int = 0) -> None:
        super().__init__()
        self.noise = noise
        self.trunk = Trunk(channels, side, given_width) if given else None
        self.read = nn.Linear(16 * given_width, given) if given else None
        self.first = nn.Linear(noise + given + told, 16 * width)
        widths, layers = [*reversed(_widths(side, width)), channels], list[nn.Module]()
        for place, (wide, narrow) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            kernel = 5 if place == 0 and side % 8 else 6  # Seven pixels, or eight, of four.
            layers += [nn.ConvTranspose2d(wide, narrow, kernel, 2, 2), BatchNorm2d(narrow), nn.ReLU()]
        self.main = nn.Sequential(nn.Unflatten(1, (width, 4, 4)), *layers[:-2], nn.Tanh())

    def forward(self, u: Tensor, coarse: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Return [N, C, s, s] in (-1, 1) of noise u [N, Z], coarse pictures [N, C, s, s] and codes c [N, n], where told."""
        if self.trunk is not None and self.read is not None and coarse is not None:
            u = torch.cat([u, self.read(self.trunk(coarse))], 1)
        return self.main(self.first(_beside(u, c)))


class StridedDiscriminator(nn.Module):
    """Tell residuals, or the coarsest pictures, with a reading of the coarse picture.

    Args:
        channels: C.
        side: s.
        width: channels of the last convolution.
        given, given_width: as for `StridedGenerator`.
        told: as for `FlatGenerator`.
    """

    def __init__(self, channels: int, side: int, width: int, given: int, given_width: int, told: int = 0) -> None:
        super().__init__()
        self.plane = Plane(told, side) if told else None
        self.seen = Trunk(channels + bool(told), side, width)
        self.trunk = Trunk(channels, side, given_width) if given else None
        self.read = nn.Linear(16 * given_width, given) if given else None
        self.last = nn.Linear(16 * width + given, 1)

    def forward(self, x: Tensor, coarse: Tensor | None = None, seed: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Return raw logits [N] of x with coarse pictures [N, C, s, s] and codes c [N, n], where told; there is no dropout."""
        h = self.seen(x if self.plane is None else self.plane(x, c))
        if self.trunk is not None and self.read is not None and coarse is not None:
            h = torch.cat([h, self.read(self.trunk(coarse))], 1)
        return self.last(h)[:, 0]


def check_size(size: tuple[int, int]) -> None:
    """Refuse pictures without a pyramid that ends at 7 or 8 pixels.

    Raises:
        SizeError: with the nearest valid size.
    """
    if size[0] != size[1] or size[0] not in SIDES:
        nearest = min(SIDES, key=lambda side: abs(side - max(size)))
        raise SizeError(
            f"data.size {size[0]}x{size[1]}: LAPGAN makes squares whose side is 7 or 8 times a power of two, from 14 to 256; "
            f"the nearest is {nearest}x{nearest}"
        )


def _beside(u: Tensor, c: Tensor | None) -> Tensor:
    """Return rows [N, Z + n] of rows [N, Z] and codes [N, n], where there are any."""
    return u if c is None else torch.cat([u, c.to(u.dtype)], 1)


def _widths(side: int, width: int) -> list[int]:
    """Return the channels of the convolutions that halve a side down to 4."""
    return [max(width >> depth, 1) for depth in reversed(range((side - 1).bit_length() - 2))]


def _dropped(h: Tensor, seed: Tensor | None, stream: int) -> Tensor:
    if seed is None:
        return h
    return h * (hashed(seed, stream, h.shape[1]) >= DROPPED).to(h.dtype) / (1 - DROPPED)


def _draw(network: nn.Module, deviation: float) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, deviation)
            nn.init.zeros_(layer.bias)
