"""Styles of translations: from a seed, a reference or the domain's mean, and interpolation between them.

Shapes: N batch, C channels, S style size; `told` is what `Recipe.condition` makes of targets, [N] or [N, n].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from asterism.config import ConfigError
from asterism.inference.target_words import Edit
from asterism.machine import at_least_float32
from asterism.recipes.base import Recipe

Known = dict[tuple[int, ...], Tensor]
"""Mean styles [S] by domain."""


class StyleBook:
    """The styles of one model, whose weights stay as they are: each domain's mean is computed once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._means: Known = {}

    def mean(self, told: Tensor) -> Tensor:
        """Return the mean styles [N, S] of the domains that are told."""
        return _by_domain(told, self._means, self.recipe.mean_style)


@runtime_checkable
class StyleSource(Protocol):
    """What gives a translation its style."""

    def of(self, book: StyleBook, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles [N, S] for sources x [N, C, H, W] and targets `told`."""


@dataclass(frozen=True)
class Target:
    """What pictures are translated to.

    Args:
        edits: one per pass of the model.
        style: how the result is to look, for recipes with styles; none takes the mean style.
        strength: of the difference between target and source, for recipes that are told it: 0 changes nothing.
        attention: instead of the result: how much of each pixel is painted anew, 0 to 1, for recipes that attend.
    """

    edits: tuple[Edit, ...]
    style: StyleSource | None = None
    strength: float = 1.0
    attention: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength):
            raise ConfigError(f"strength is {self.strength}; expected a number such as 0.5")

    @property
    def beyond(self) -> str:
        """What the user should know of a strength that no model has learnt; empty for 0 to 1."""
        asked = {self.strength, *(self.strength * s for edit in self.edits for s in edit.strengths.values())}
        worst = max(asked, key=lambda s: max(s - 1, -s))
        return "" if 0 <= worst <= 1 else f"strength {worst:g} is beyond 0 to 1, which was learnt: look at the result"


@dataclass(frozen=True)
class Style:
    """A style for all sources alike, of one model.

    Args:
        seed: draws the latent; the same seed is the same style for every picture.
        like: a reference picture, float32 [1, C, H, W] in [-1, 1] at the model's size, whose style is read; none and no
            seed: the domain's mean style.
        truncation: psi, draws the style towards the domain's mean: 1 leaves it, 0 is the mean (StarGAN v2, Appendix).
        strength: 1 is the style, 0 the source's own, read with the head of `source`: the model's reconstruction of it.
        source: what is told of the domain that the sources are read as, [1, ...]; none reads them as the target's.
    """

    seed: int | None = None
    like: Tensor | None = None
    truncation: float = 1.0
    strength: float = 1.0
    source: Tensor | None = None
    _made: Known = field(default_factory=dict, init=False, repr=False, compare=False)  # A reference is read once.

    def __post_init__(self) -> None:
        if self.seed is not None and self.like is not None:
            raise ConfigError("a style comes from a seed or from a reference picture: give one of them")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"the seed of a style is {self.seed}; expected at most {2**63 - 1}")
        for name in ("truncation", "strength"):
            _check_share(name, getattr(self, name))

    def of(self, book: StyleBook, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles [N, S] for sources x [N, C, H, W] and targets `told`."""
        s = self._wanted(book, told)
        if self.strength < 1:
            own = told if self.source is None else self.source.to(told).expand_as(told)
            s = torch.lerp(at_least_float32(book.recipe.read_style(x, own)), s, self.strength)
        return s

    def _wanted(self, book: StyleBook, told: Tensor) -> Tensor:
        if self.seed is None and self.like is None:
            return book.mean(told)
        s = _by_domain(told, self._made, lambda domains: self._make(book.recipe, domains))
        return s if self.truncation == 1 else torch.lerp(book.mean(told), s, self.truncation)

    def _make(self, recipe: Recipe, told: Tensor) -> Tensor:
        dtype = next(recipe.parameters()).dtype
        if self.like is not None:
            return recipe.read_style(self.like.to(told.device, dtype).expand(len(told), -1, -1, -1), told)
        z = torch.randn(1, recipe.abilities.latent, generator=torch.Generator().manual_seed(self.seed or 0))
        return recipe.draw_style(z.to(told.device, dtype).expand(len(told), -1), told)


@dataclass(frozen=True)
class Between:
    """A style on the straight line from one style to another.

    Args:
        first, second: the ends.
        weight: 0 is the first, 1 the second.
    """

    first: StyleSource
    second: StyleSource
    weight: float

    def __post_init__(self) -> None:
        _check_share("weight", self.weight)

    def of(self, book: StyleBook, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles [N, S] for sources x [N, C, H, W] and targets `told`."""
        return torch.lerp(self.first.of(book, x, told), self.second.of(book, x, told), self.weight)


@dataclass(frozen=True)
class Each:
    """A style of its own for every source of a batch, in order.

    Args:
        looks: N of them.
    """

    looks: Sequence[StyleSource]

    def of(self, book: StyleBook, x: Tensor, told: Tensor) -> Tensor:
        """Return the styles [N, S] for sources x [N, C, H, W] and targets `told`."""
        rows = [look.of(book, x[i : i + 1], told[i : i + 1]) for i, look in enumerate(self.looks)]
        assert len(rows) == len(x), f"{len(rows)} styles for a batch of {len(x)}"
        return torch.cat(rows)


def line(looks: Sequence[StyleSource], steps: int) -> list[StyleSource]:
    """Return the styles on the way through `looks`, in order: `steps` from each to the next, and the last."""
    between = [Between(a, b, k / steps) for a, b in zip(looks[:-1], looks[1:], strict=True) for k in range(steps)]
    return [*between, looks[-1]]


def _by_domain(told: Tensor, known: Known, make: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the style of each row of `told`; those not known yet are made and noted."""
    rows = [tuple(row) for row in told.reshape(len(told), -1).tolist()]
    places = {row: place for place, row in enumerate(rows) if row not in known}
    if places:
        known.update(zip(places, at_least_float32(make(told[list(places.values())])), strict=True))
    return torch.stack([known[row] for row in rows])


def _check_share(name: str, value: Any) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value}; expected between 0 and 1")
