"""Where the codes of a model may lie, how a search without bounds stays there, and the way from one code to another.

A search moves a variable u, which may be anything; `inside` maps it, smoothly and one to one, to a code that the model has
learnt to decode, as iGAN (arXiv:1609.03552) does by a tanh for latents of a cube.

Shapes: codes and variables [N, D].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from asterism.config import ConfigError

EDGE = 1 - 1e-4
"""A code at the very border has no finite variable: it is taken this share of the way to it."""


class Space(Protocol):
    """Where codes may lie.

    Attributes:
        size: D, the numbers in a code.
        way: how `between` goes, in a word.
    """

    @property
    def size(self) -> int: ...

    @property
    def way(self) -> str: ...

    @property
    def variance(self) -> float:
        """Of a code's numbers."""

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return codes [N, D] as in training, on the CPU."""

    def inside(self, u: Tensor) -> Tensor:
        """Return the code of a variable."""

    def outside(self, code: Tensor) -> Tensor:
        """Return the variable of a code: the inverse of `inside`, but for codes at the border or beyond."""

    def check(self, codes: Tensor) -> None:
        """Raise ConfigError for codes that lie elsewhere."""

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Return codes on the way from a to b, at the shares t [N, 1] of it."""


@dataclass(frozen=True)
class Ball:
    """Codes drawn from the standard normal distribution, whose length is close to the square root of their size.

    Less than one code in a million is longer than that root and 4, so no model has learnt what to make of those. A search,
    which likes the border, stays within the root and 2, which three codes in a thousand exceed, so that there is room to go on
    from what it finds. The way between two codes is spherical, since the straight one leads through codes that are too short.
    """

    size: int
    way: str = "spherical"

    @property
    def variance(self) -> float:
        """1."""
        return 1.0

    @property
    def longest(self) -> float:
        """The length that codes may have."""
        return self.size**0.5 + 4

    @property
    def radius(self) -> float:
        """The length that a search keeps below."""
        return self.size**0.5 + 2

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return codes [N, D] as in training, on the CPU."""
        return torch.randn(count, self.size, generator=rng)

    def inside(self, u: Tensor) -> Tensor:
        """Shorten u: its direction stays, its length l becomes R tanh(l / R), R being the radius."""
        length = _length(u) / self.radius
        return u * (length.tanh() / length)

    def outside(self, code: Tensor) -> Tensor:
        """Lengthen a code, which gives the variable."""
        length = (_length(code) / self.radius).clamp(max=EDGE)
        return code * (length.atanh() / (_length(code) / self.radius))

    def check(self, codes: Tensor) -> None:
        """Raise ConfigError for codes of another size, too long, or not finite."""
        _check_numbers(codes, self.size)
        longest = float(codes.norm(dim=1).max())
        if longest > self.longest * (1 + 1e-5):
            raise ConfigError(
                f"a code is {longest:.1f} long; this model's latents are about {self.size**0.5:.1f} long and at most "
                f"{self.longest:.1f}: take a smaller step or shorten it (--truncation)"
            )

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Return codes on the great circle between the directions of a and b; the length goes along with it."""
        return slerp(a, b, t)


@dataclass(frozen=True)
class Box:
    """Codes whose every number lies between two bounds: uniform latents, or shares of labels. Ways between are straight."""

    size: int
    low: float = -1.0
    high: float = 1.0
    way: str = "linear"

    @property
    def variance(self) -> float:
        """That of the uniform distribution."""
        return (self.high - self.low) ** 2 / 12

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return codes [N, D], uniform between the bounds, on the CPU."""
        return self.low + (self.high - self.low) * torch.rand(count, self.size, generator=rng)

    def inside(self, u: Tensor) -> Tensor:
        """tanh, scaled to the bounds."""
        return self.low + (self.high - self.low) * (u.tanh() + 1) / 2

    def outside(self, code: Tensor) -> Tensor:
        """The inverse of tanh, of a code scaled to -1 to 1."""
        return (2 * (code - self.low) / (self.high - self.low) - 1).clamp(-EDGE, EDGE).atanh()

    def check(self, codes: Tensor) -> None:
        """Raise ConfigError for codes of another size, out of bounds, or not finite."""
        _check_numbers(codes, self.size)
        low, high = float(codes.min()), float(codes.max())
        if low < self.low - 1e-5 or high > self.high + 1e-5:
            raise ConfigError(
                f"a code has numbers from {low:.2f} to {high:.2f}; this model takes {self.low:g} to {self.high:g}: take a "
                "smaller step"
            )

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Return codes on the straight line between a and b."""
        return torch.lerp(a, b, t)


@dataclass(frozen=True)
class Styles:
    """Styles, as a network makes them: any numbers. Ways between are straight.

    Args:
        drawn: styles [M, D] of random latents, from which searches start.
    """

    drawn: Tensor
    way: str = "linear"

    @property
    def size(self) -> int:
        """D."""
        return self.drawn.shape[1]

    @property
    def variance(self) -> float:
        """Of the drawn styles, the mean over their numbers."""
        return float(self.drawn.var(0).mean())

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return some of the drawn styles, [N, D], on the CPU."""
        return self.drawn[torch.randint(len(self.drawn), (count,), generator=rng)]

    def inside(self, u: Tensor) -> Tensor:
        """u itself."""
        return u

    def outside(self, code: Tensor) -> Tensor:
        """The code itself."""
        return code

    def check(self, codes: Tensor) -> None:
        """Raise ConfigError for styles of another size, or not finite."""
        _check_numbers(codes, self.size)

    def between(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Return styles on the straight line between a and b."""
        return torch.lerp(a, b, t)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return spherical interpolation of codes [N, D] at the shares t [N, 1]: the angle is that of the directions.

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b (Shoemake 1985). Where a and b share a line, the way is straight.
    """
    cosine = (a * b).sum(1, keepdim=True) / (_length(a) * _length(b))
    angle = cosine.clamp(-1, 1).acos()
    flat = angle.sin() < 1e-6
    sine = torch.where(flat, torch.ones_like(angle), angle.sin())
    curved = ((1 - t) * angle).sin() / sine * a + (t * angle).sin() / sine * b
    return torch.where(flat, torch.lerp(a, b, t.to(a)), curved)


def along(space: Space, a: Tensor, b: Tensor, count: int) -> Tensor:
    """Return `count` codes [count, D] on the way from a to b [D], both ends among them."""
    t = torch.linspace(0, 1, count, dtype=a.dtype, device=a.device)[:, None]
    return space.between(a.expand(count, -1), b.expand(count, -1), t)


def _length(codes: Tensor) -> Tensor:
    """Return lengths [N, 1], never 0, so that they can be divided by and differentiated."""
    return (codes.square().sum(1, keepdim=True) + 1e-24).sqrt()


def _check_numbers(codes: Tensor, size: int) -> None:
    if codes.ndim != 2 or codes.shape[1] != size:
        raise ConfigError(f"codes are {list(codes.shape)}; this model takes [N, {size}]")
    if not codes.isfinite().all():
        raise ConfigError("a code holds numbers that are infinite or not numbers (NaN)")


def near(space: Space, code: Tensor, count: int, rng: torch.Generator, spread: float = 0.5) -> Tensor:
    """Return a code [D] and others around it, [count, D], within the space.

    Args:
        spread: standard deviation of their distance, as a share of that of drawn codes; iGAN's is 0.5.
    """
    step = spread * space.variance**0.5 * torch.randn(count, len(code), generator=rng).to(code)
    step[0] = 0
    return space.inside(space.outside(code + step))
